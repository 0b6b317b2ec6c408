"""Measures what this board really does with an installed model, and lets the server know."""
