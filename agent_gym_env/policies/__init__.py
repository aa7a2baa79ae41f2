"""Policies: agents that return an action for an observation."""
