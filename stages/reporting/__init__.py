"""Pages about runs: what is read from a run, what of it is compared, and the templates it is shown with."""
