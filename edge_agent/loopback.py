"""Whether a host can only be this machine.

PURE. Rules:

1. A name is believed only when it is ``localhost`` (RFC 6761, clause 6.3); every other one could lead anywhere.
"""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
