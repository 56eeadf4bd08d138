"""From a user's sentence to the motion of a prior that it names: ``understand``."""

from stages.priors.words.understanding import Understood, understand

__all__ = ["Understood", "understand"]
