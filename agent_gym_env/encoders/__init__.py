"""Encoders of texts, conversations and candidates as vectors of numbers."""
