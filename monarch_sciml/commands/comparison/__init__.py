"""Train, compare and evaluate networks: everything these three commands share."""
