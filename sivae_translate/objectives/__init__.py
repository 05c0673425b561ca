"""What the encoders and the decoder minimise."""
