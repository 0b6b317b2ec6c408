"""What both documents tell of: tools with their package URLs, and JSON that is the same everywhere.

PURE. Rules:

1. Everything follows from the manifest: no clock, no path, no random number.
2. A tool's package URL is as the specification writes it (https://github.com/package-url/purl-spec): PyPI names in
   lower case with hyphens, versions percent-encoded.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import Any

OWN_PACKAGE = "litefleet"
NOT_FROM_PYPI = frozenset(("edgetpu-compiler",))
_SEPARATORS = re.compile(r"[-_.]+")


def package_url(name: str, version: str) -> str:
    """The package URL of a tool that the provenance names."""
    if name in NOT_FROM_PYPI:
        return f"pkg:generic/{_quoted(name)}@{_quoted(version)}"
    return f"pkg:pypi/{_quoted(_SEPARATORS.sub('-', name).lower())}@{_quoted(version)}"


def canonical_json(document: dict[str, Any]) -> bytes:
    """A document as ASCII, keys sorted, a line a value, so that people can read and compare it."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode(
        "ascii"
    )


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")
