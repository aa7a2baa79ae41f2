"""Pages that browse recorded episodes: runs in a folder, their episodes, and two runs compared."""
