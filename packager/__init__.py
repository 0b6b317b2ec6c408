"""litefleet packager."""
