"""A baseline agent without a neural network: it understands users and reuses recorded replies."""
