"""Training: the loop, its state, optimizer steps, devices, ranks, checkpoints and dry runs."""
