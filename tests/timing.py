"""Limits of time for tests, that a busy machine keeps too."""

SOON_S = 25.0
"""Far more than what is to be at once takes, and less than what it must not wait for."""
