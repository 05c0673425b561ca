"""From picture files to training batches."""
