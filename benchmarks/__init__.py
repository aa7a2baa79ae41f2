"""Measures every promised speed and size: ``python -m benchmarks``."""
