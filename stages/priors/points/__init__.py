"""The prior that sees the asset as points in 3D and knows how they move: trajectories in place of pictures."""

from stages.priors.points.prior import PointsPrior, PointView, sees_points

__all__ = ["PointView", "PointsPrior", "sees_points"]
