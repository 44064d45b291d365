"""One training loop for every network: objectives, optimisation, checkpoints."""
