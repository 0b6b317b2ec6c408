"""Sources: what the agent has its models answer by itself. ``python -m edge_agent.inference.sources`` runs one."""
