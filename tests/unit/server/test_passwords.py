from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.broker.passwords import SALT_BYTES, hash_password, is_password

SALT = bytes(range(SALT_BYTES))


def test_the_hash_has_mosquittos_form() -> None:
    # Made with mosquitto's own algorithm: PBKDF2-HMAC-SHA512, 101 iterations, 64 bytes.
    kept = hash_password("secret", SALT)
    assert kept.startswith("$7$101$AAECAwQFBgcICQoL$")
    assert len(kept.split("$")[4]) == 88


# HMAC fills a short key with zeros (RFC 2104, section 2): to PBKDF2 a password with zeros at its end is without them.
WITHOUT_ZEROS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40)


@settings(max_examples=25)
@given(password=WITHOUT_ZEROS, other=WITHOUT_ZEROS)
def test_only_the_password_itself_belongs_to_its_hash(password: str, other: str) -> None:
    kept = hash_password(password, SALT)
    assert is_password(password, kept)
    assert is_password(other, kept) is (other == password)


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "plain",
        "$6$101$AAECAwQFBgcICQoL$AAAA",
        "$7$x$AAECAwQFBgcICQoL$AAAA",
        "$7$0$AAECAwQFBgcICQoL$AAAA",
        "$7$9999999999$AAECAwQFBgcICQoL$AAAA",
        "$7$101$not base64$AAAA",
        "$7$101$AAECAwQFBgcICQoL",
    ],
)
def test_a_hash_of_another_form_belongs_to_nothing(kept: str) -> None:
    assert not is_password("secret", kept)
