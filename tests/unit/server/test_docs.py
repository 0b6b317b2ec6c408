"""The server's reference pages name everything there is, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from server.api.application import create_application
from server.config import ServerConfig

DOCS = Path(__file__).parents[3] / "docs"


def test_every_endpoint_is_documented_and_every_documented_one_exists() -> None:
    rows = re.findall(
        r"^\| `(GET|HEAD|POST|PUT) (/\S*)` \| (\w+) \|",
        (DOCS / "reference" / "http-api.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    paths = create_application("0").openapi()["paths"]
    existing = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert {(method, path) for method, path, _ in rows} == existing


def test_every_setting_is_documented_with_its_default() -> None:
    page = (DOCS / "reference" / "server-configuration.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(\w+\.\w+)` \| `(\S+)` \|", page, flags=re.MULTILINE))
    tables = msgspec.to_builtins(ServerConfig())
    settings = {f"{table}.{key}": str(value) for table, keys in tables.items() for key, value in keys.items()}
    assert documented == settings


def test_the_description_asks_for_no_page_from_elsewhere() -> None:
    app = create_application("0")
    assert (app.docs_url, app.redoc_url, app.openapi_url) == (None, None, "/openapi.json")
