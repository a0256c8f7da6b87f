"""The Python API: one module per public function, see ``prune``."""
