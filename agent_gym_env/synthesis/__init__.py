"""A generator of corpora in SGD's file format, from a schema and a table of entities."""
