"""The command ``agent-gym``: each subcommand parses, calls one library function, and prints."""
