"""MV-VDM: Animate3D's model that denoises four videos of one thing together (Jiang et al. 2024, section 3.1)."""
