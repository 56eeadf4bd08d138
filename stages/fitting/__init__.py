"""Fitting Gaussians to pictures: where they start, and how those that are of no use are moved."""
