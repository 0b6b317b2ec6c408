"""Heat and power of the board: what its sensors say, and what the agent does about it."""
