"""What runs tasks in workers: this machine, Ray, SLURM. One library an engine, one importer a library."""
