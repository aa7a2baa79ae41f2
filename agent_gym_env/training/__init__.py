"""Learning from play: policies that are trained on the environment."""
