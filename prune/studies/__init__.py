"""Comparisons of criteria and of networks, run through the command lines and resumed where they stopped."""
