"""One module per verb: what the scripts and ``python -m prune`` call."""
