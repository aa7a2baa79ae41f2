"""Files that are whole or absent, locks between processes, and the cache folder."""
