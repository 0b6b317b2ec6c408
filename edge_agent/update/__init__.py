"""How a device gets a new model version."""
