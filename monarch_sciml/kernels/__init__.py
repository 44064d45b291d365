"""Fast paths behind transforms and layers, each with a slow reference."""
