"""Asks the broker whether it lets a user in, with the smallest of MQTT clients.

Guarantees: leaves nothing behind at the broker: a clean session, no last will, a proper goodbye.
"""

from __future__ import annotations

import socket

TIMEOUT_S = 2.0
_CONNECT = 0x10
_DISCONNECT = b"\xe0\x00"
_ACCEPTED = b"\x20\x02\x00\x00"
_FLAGS = 0xC2  # user name, password, clean session (MQTT 3.1.1, 3.1.2.3)
_KEEPALIVE_S = 10


def is_let_in(address: tuple[str, int], user: str, password: str) -> bool:
    """Whether the broker lets a user in now; False too when it does not answer."""
    try:
        with socket.create_connection(address, TIMEOUT_S) as connection:
            connection.sendall(encode_connect(user, password))
            answer = connection.recv(len(_ACCEPTED), socket.MSG_WAITALL)
            if answer == _ACCEPTED:
                connection.sendall(_DISCONNECT)
            return answer == _ACCEPTED
    except OSError:
        return False


def encode_connect(user: str, password: str) -> bytes:
    """The CONNECT packet of a client whose id is its user name (MQTT 3.1.1, 3.1)."""
    header = _text("MQTT") + bytes([4, _FLAGS]) + _KEEPALIVE_S.to_bytes(2, "big")
    body = header + _text(user) + _text(user) + _text(password)
    return bytes([_CONNECT]) + _length(len(body)) + body


def _text(text: str) -> bytes:
    content = text.encode()
    return len(content).to_bytes(2, "big") + content


def _length(length: int) -> bytes:
    """Seven bits a byte, the lowest first (2.2.3)."""
    encoded = bytearray()
    while length > 127:
        encoded.append(length % 128 | 128)
        length //= 128
    return bytes([*encoded, length])
