"""Password hashes as mosquitto keeps them.

PURE. Rules:

1. ``$7$<iterations>$<salt>$<hash>``, base64: PBKDF2 with HMAC-SHA512 and a hash of 64 bytes (mosquitto 2,
   ``lib/password_mosq.c``); a test holds it against ``mosquitto_passwd`` and the broker itself.
2. 101 iterations, mosquitto's own number (``PW_DEFAULT_ITERATIONS``): stretching protects passwords that people
   choose, and ours are 256 random bits; mosquitto computes the hash anew for every client on every reload.
3. Comparison takes the same time wherever the difference is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

ITERATIONS = 101
SALT_BYTES = 12
"""What mosquitto 2.0 reads; it refuses other lengths."""
_HASH_BYTES = 64
_KIND = "7"
_MAX_ITERATIONS = 1_000_000


def hash_password(password: str, salt: bytes) -> str:
    """The hash to keep of a password.

    Args:
        password: In clear text.
        salt: ``SALT_BYTES`` random bytes.
    """
    shown = [base64.b64encode(part).decode() for part in (salt, _derive(password, salt, ITERATIONS))]
    return f"${_KIND}${ITERATIONS}${shown[0]}${shown[1]}"


def is_password(password: str, kept: str) -> bool:
    """Whether a password belongs to a kept hash; False for a hash of another form."""
    parts = kept.split("$")
    if len(parts) != 5 or parts[:2] != ["", _KIND] or not parts[2].isdecimal():
        return False
    iterations = int(parts[2][:10])
    try:
        salt, wanted = (base64.b64decode(part, validate=True) for part in parts[3:])
    except binascii.Error:
        return False
    if not 1 <= iterations <= _MAX_ITERATIONS:
        return False
    return hmac.compare_digest(_derive(password, salt, iterations), wanted)


def _derive(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations, _HASH_BYTES)
