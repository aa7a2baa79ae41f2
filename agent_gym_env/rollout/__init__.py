"""Playing policies in environments, and the record of it."""
