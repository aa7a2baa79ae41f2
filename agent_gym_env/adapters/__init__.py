"""A session as an environment of other libraries."""
