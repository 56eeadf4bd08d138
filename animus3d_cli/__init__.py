"""The command line of animus3d: the terminal, and nothing else."""
