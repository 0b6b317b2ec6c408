"""What changed between two bundles, for whoever decides whether the second may replace the first."""
