"""Errors, files, devices, progress and pictures: what every layer uses."""
