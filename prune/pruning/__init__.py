"""Structured pruning: criteria, allocation, cutting, recalibration, report."""
