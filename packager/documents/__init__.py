"""The documents of a bundle: bill of materials and provenance."""
