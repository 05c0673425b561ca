"""A trained model at work: tensors, styles, files, folders, clusters and exports."""
