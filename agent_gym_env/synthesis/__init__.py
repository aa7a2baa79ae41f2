"""Writes dialogue corpora from a schema and a table of entities, in SGD's file format."""
