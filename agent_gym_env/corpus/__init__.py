"""Corpora of recorded dialogues: their format, their compiled form and how to open them."""
