"""Checking rewards: the score of every known exploit, of the oracle, and agreement with a judge."""
