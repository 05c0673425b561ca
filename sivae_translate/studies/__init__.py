"""Complete experiments: the benchmark and the demo."""
