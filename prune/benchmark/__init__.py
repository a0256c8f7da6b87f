"""Latency, memory, throughput, and the peaks of this machine."""
