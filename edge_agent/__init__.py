"""litefleet edge_agent."""
