"""litefleet server."""
