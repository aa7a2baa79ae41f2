"""Agents: from an observation to an action."""
