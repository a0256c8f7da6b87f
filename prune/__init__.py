"""Prune crack-segmentation networks and measure what the pruning cost."""

__version__ = "0.1.0"
