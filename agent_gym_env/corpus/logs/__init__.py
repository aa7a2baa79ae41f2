"""Readers of conversation logs: whatever their format, their dialogues become compiled tasks."""
