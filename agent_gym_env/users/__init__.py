"""Users who answer the agent in the simulation."""
