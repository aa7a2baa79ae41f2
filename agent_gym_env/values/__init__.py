"""Slot values: when two of them mean the same, and where a text mentions one."""
