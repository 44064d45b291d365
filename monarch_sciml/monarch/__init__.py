"""The mathematics of Monarch matrices: pure functions on tensors."""
