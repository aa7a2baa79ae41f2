"""Who answers the agent in the simulation."""
