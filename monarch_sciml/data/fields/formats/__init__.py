"""One file a format that fields are stored in."""
