"""How the asset moves: the motion field, and what keeps it plausible."""
