"""Alembic's scripts; run by ``server.storage.database`` at every start."""
