"""Raw data of scanners: readouts and their places in k-space."""
