"""From a float model to a gated, reproducible bundle per device profile; imports nothing heavy by itself."""
