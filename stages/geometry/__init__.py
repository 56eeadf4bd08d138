"""Rotations and rigid transforms: differentiable torch, nothing else."""
