"""What ``ablate`` takes away, one part at a time, and how sure its figures are."""
