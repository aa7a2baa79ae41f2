"""Reads an agent's free text for a simulated user, without a language model."""
