"""Metrics, their intervals, baselines, probes, fidelity, out-of-distribution detection, and their reports."""
