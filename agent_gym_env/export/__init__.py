"""Recorded episodes as rows for trainers, as tables, and as datasets of other libraries."""
