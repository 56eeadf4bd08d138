"""What ``eval`` measures with feature networks, alone and against a reference set."""
