"""Summaries, comparisons and reports of recorded episodes."""
