"""Skeletons: joints in a tree, poses, skinning, and reading them from animated files."""
