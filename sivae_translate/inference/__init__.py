"""Using a trained model: tensors, styles, files, folders, clusters and exports."""
