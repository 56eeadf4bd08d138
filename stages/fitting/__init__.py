"""Fitting Gaussians to photos: where they start, what is optimised, the loss, and how those of no use are moved."""
