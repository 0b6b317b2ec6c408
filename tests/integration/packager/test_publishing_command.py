"""``keys init`` and ``publish`` against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from packager.cli import main
from server.trust.access import Role, token_path
from tests.support.builders import a_bundle
from tests.support.trust_server import TrustServer, running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TrustServer]:
    with running(tmp_path / "server") as instance:
        yield instance


def run(server: TrustServer, keys: Path, *arguments: str, role: Role = Role.PUBLISHER) -> Result:
    token = token_path(server.folder / "secrets", role)
    options = ["--server", server.url, "--keys", str(keys), "--token-file", str(token)]
    return CliRunner().invoke(main, [*arguments, *options])


def test_keys_are_made_and_trusted_by_a_new_server_in_one_command(
    server: TrustServer, tmp_path: Path
) -> None:
    result = run(server, tmp_path / "keys", "keys", "init")
    assert result.exit_code == 0
    assert "made keys in" in result.stdout
    assert "TRUST ESTABLISHED" in result.stdout


def test_a_bundle_is_published_and_publishing_it_again_changes_nothing(
    server: TrustServer, tmp_path: Path
) -> None:
    run(server, tmp_path / "keys", "keys", "init")
    bundle = a_bundle(tmp_path / "dist")
    first = run(server, tmp_path / "keys", "publish", str(bundle))
    assert first.exit_code == 0
    assert "published digits 1.0.0 for generic-x86-64" in first.stdout
    assert "uploaded 2 artifacts" in first.stdout
    again = run(server, tmp_path / "keys", "publish", str(bundle))
    assert again.exit_code == 0
    assert "is there already: digits 1.0.0 for generic-x86-64" in again.stdout


def test_the_json_of_a_publication_stays_clean_of_what_is_said_aside(
    server: TrustServer, tmp_path: Path
) -> None:
    CliRunner().invoke(main, ["keys", "init", "--keys", str(tmp_path / "keys")])
    result = run(server, tmp_path / "keys", "publish", str(a_bundle(tmp_path / "dist")), "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["releases"][0]["is_new"] is True
    assert "TRUST ESTABLISHED" in result.stderr


def test_an_operators_token_may_not_publish(server: TrustServer, tmp_path: Path) -> None:
    run(server, tmp_path / "keys", "keys", "init")
    bundle = str(a_bundle(tmp_path / "dist"))
    result = run(server, tmp_path / "keys", "publish", bundle, role=Role.OPERATOR)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
