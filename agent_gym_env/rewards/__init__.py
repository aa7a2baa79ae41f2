"""Rewards: how good a closed turn is."""
