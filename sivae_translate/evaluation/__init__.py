"""Figures that others can compare with: perceptual distance, pixel metrics with intervals, and probes of the
codes.
"""
