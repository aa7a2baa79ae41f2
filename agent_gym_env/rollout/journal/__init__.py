"""The files that a collection is kept in: writing them, reading them, recovering from a kill."""
