"""One file a format that scans are stored in."""
