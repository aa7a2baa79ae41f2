"""Gymnasium wrappers for libraries that do not take text."""
