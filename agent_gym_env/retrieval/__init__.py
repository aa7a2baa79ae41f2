"""Nearest neighbours over recorded turns."""
