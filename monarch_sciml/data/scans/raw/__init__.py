"""Raw data of scanners: readouts, and where each belongs in k-space."""
