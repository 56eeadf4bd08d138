"""Training of this project's own prior."""
