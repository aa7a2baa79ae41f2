"""Tool backends, which answer the agent's tool calls."""
