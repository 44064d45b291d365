"""Fields on grids: sources, samples and data modules."""
