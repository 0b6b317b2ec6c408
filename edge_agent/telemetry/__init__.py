"""How the models on a device fare, and how the server gets to know."""
