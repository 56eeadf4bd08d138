"""An asset together with its motion, and where it truly goes."""
