"""Names that cross a boundary, and the only functions that let one in.

PURE. Rules:

1. Nothing from outside becomes a path, a topic or a query before it went through a ``parse_`` function here.
2. A parse function returns its argument unchanged or raises; it never repairs.
3. Versions are SemVer 2 (https://semver.org/spec/v2.0.0.html) and compare by its clause 11.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, NewType

from contract.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable

ModelName = NewType("ModelName", str)
VersionText = NewType("VersionText", str)
DeviceId = NewType("DeviceId", str)
ProfileId = NewType("ProfileId", str)
Digest = NewType("Digest", str)
"""sha256, 64 lower-case hexadecimal digits."""
OpaqueId = NewType("OpaqueId", str)
"""Identifier of a rollout, deployment, boot or transfer: made by one part, only compared by the others."""

MODEL_PATTERN = r"[a-z0-9][a-z0-9-]{0,62}"
DEVICE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
DIGEST_PATTERN = r"[0-9a-f]{64}"
OPAQUE_PATTERN = DEVICE_PATTERN
_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRE_PART = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
VERSION_PATTERN = (
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_PRE_PART}(?:\.{_PRE_PART})*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
VERSION_MAX_CHARS = 64
"""A version is a path component and a topic field; no real one is longer."""

_MODEL = re.compile(MODEL_PATTERN)
_DEVICE = re.compile(DEVICE_PATTERN)
_DIGEST = re.compile(DIGEST_PATTERN)
_OPAQUE = re.compile(OPAQUE_PATTERN)
_SEMVER = re.compile(VERSION_PATTERN)


def _parse(pattern: re.Pattern[str], text: str, what: str, rule: str) -> str:
    if pattern.fullmatch(text) is None:
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise ManifestError(f"{shown!r} is not a {what}", remedy=f"a {what} is {rule}")
    return text


def parse_model(text: str) -> ModelName:
    """Accept a model name: 1 to 63 of ``a-z 0-9 -``, not starting with a hyphen.

    Raises:
        ManifestError: It is not one.
    """
    return ModelName(_parse(_MODEL, text, "model name", "1 to 63 of a-z, 0-9 and -, not starting with -"))


def parse_profile_id(text: str) -> ProfileId:
    """Accept a profile id; same form as a model name.

    Raises:
        ManifestError: It is not one.
    """
    return ProfileId(_parse(_MODEL, text, "profile id", "1 to 63 of a-z, 0-9 and -, not starting with -"))


def parse_device_id(text: str) -> DeviceId:
    """Accept a device id: 1 to 64 of ``A-Z a-z 0-9 _ -``, starting with a letter or digit.

    Raises:
        ManifestError: It is not one.
    """
    rule = "1 to 64 of A-Z, a-z, 0-9, _ and -, starting with a letter or digit"
    return DeviceId(_parse(_DEVICE, text, "device id", rule))


def parse_digest(text: str) -> Digest:
    """Accept a sha256 digest in 64 lower-case hexadecimal digits.

    Raises:
        ManifestError: It is not one.
    """
    return Digest(_parse(_DIGEST, text, "digest", "64 lower-case hexadecimal digits (sha256)"))


def parse_opaque_id(text: str) -> OpaqueId:
    """Accept the id of a rollout, deployment, boot or transfer.

    Raises:
        ManifestError: It is not one.
    """
    rule = "1 to 64 of A-Z, a-z, 0-9, _ and -, starting with a letter or digit"
    return OpaqueId(_parse(_OPAQUE, text, "identifier", rule))


def parse_version(text: str) -> VersionText:
    """Accept a SemVer 2 version of at most 64 characters.

    Raises:
        ManifestError: It is not one.
    """
    if len(text) > VERSION_MAX_CHARS:
        raise ManifestError(f"a version has at most {VERSION_MAX_CHARS} characters, this one {len(text)}")
    return VersionText(_parse(_SEMVER, text, "version", "SemVer, for example 1.2.0 or 2.0.0-rc.1"))


@functools.total_ordering
class Version:
    """A SemVer 2 version that compares by precedence (clause 11); build metadata does not count."""

    __slots__ = ("_key", "text")

    def __init__(self, text: str) -> None:
        self.text = parse_version(text)
        match = _SEMVER.fullmatch(text)
        assert match is not None  # noqa: S101 - parse_version just matched the same pattern
        pre = match.group(4)
        parts: tuple[tuple[int, int, str], ...] = ()
        if pre is not None:
            # Numeric identifiers compare as numbers and are lower than alphanumeric ones (11.4.1 to 11.4.3).
            parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in pre.split("."))
        # A version without pre-release is higher than the same one with (11.3).
        self._key = (int(match[1]), int(match[2]), int(match[3]), pre is None, parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key == other._key

    def __lt__(self, other: object) -> bool:
        return self._key < other._key if isinstance(other, Version) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"Version({self.text!r})"


def nearest(unknown: str, known: Iterable[str]) -> str:
    """Name the closest known words, for error texts: ``did you mean 'a' or 'b'?``, or list them all.

    Args:
        unknown: What the user wrote.
        known: The words that would have been accepted.
    """
    import difflib  # 2 ms of every worker's start otherwise, for a text that is hardly ever written

    words = sorted(known)
    close = difflib.get_close_matches(unknown, words, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(word) for word in close) + "?"
    return "known: " + ", ".join(words)
