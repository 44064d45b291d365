"""Writers of reconstructed images."""
