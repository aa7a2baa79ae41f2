"""Language models: one synchronous interface, whatever answers behind it."""
