"""Agent Gym: task-oriented dialogues with tool calls as Gymnasium environments."""
