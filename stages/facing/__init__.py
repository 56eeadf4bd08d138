"""Where the asset of a run faces: found or said, kept, and shown on a picture."""
