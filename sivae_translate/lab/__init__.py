"""The 2D laboratory and the theory, executable."""
