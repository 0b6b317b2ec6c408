"""Model files that the packager takes, one module per format."""
