"""The services behind an agent's tool calls."""
