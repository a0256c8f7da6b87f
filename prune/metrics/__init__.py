"""Scores, all computed from pooled counts."""
