"""Linear transforms along one or more axes, fixed and learnable, with one interface."""
