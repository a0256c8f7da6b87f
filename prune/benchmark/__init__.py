"""Latency, memory, throughput, and what this machine gives."""
