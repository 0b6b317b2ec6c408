"""Makes a float model smaller to download: prunes and clusters its weights, fine-tunes, distils; held to the gate."""
