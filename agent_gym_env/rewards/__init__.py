"""Rewards, which score closed turns."""
