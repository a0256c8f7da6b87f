"""Scores of a network or of masks, and what a result holds."""
