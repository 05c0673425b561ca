"""Training: the loop, its checkpoints, its guard, and what it shows."""
