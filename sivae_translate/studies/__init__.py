"""Whole experiments: the benchmark and the demo."""
