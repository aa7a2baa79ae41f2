"""What recorded episodes say about a policy."""
