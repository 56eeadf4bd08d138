"""Triangle meshes: reading them, sampling their surface, finding them in an asset."""
