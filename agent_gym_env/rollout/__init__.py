"""Playing policies, recording episodes, and collecting them into journals."""
