"""What one step of ``distill`` does."""
