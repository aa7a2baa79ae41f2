"""Environments and runs behind HTTP and WebSocket, and the pages of a browser."""
