"""``litefleet``: the operator's remote control over the server's HTTP API."""

from server.ctl.cli import main

__all__ = ["main"]
