"""What is measured."""

SUITES = ("all", "training", "pruning", "evaluation", "scores", "deploy", "folder", "networks", "report")
"""Of ``python -m prune benchmark``; report measures nothing, it writes the tables of all machines again."""
