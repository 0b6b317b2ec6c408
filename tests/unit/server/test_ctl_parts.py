"""The remote control's parts that need no server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from contract.errors import ConfigError, ConflictError, NotFoundError, ServerUnavailableError, StorageError
from server.ctl import tables
from server.ctl.client import Client, read_token
from server.ctl.device_folder import make_device_folder
from server.ctl.watch import choose_rollout, follow

ANSWER = {
    "id": "pi",
    "profile": "p",
    "server_url": "http://127.0.0.1:1",
    "root": "{}",
    "mqtt": {"host": "127.0.0.1", "port": 2, "prefix": "a/b", "username": "pi", "password": "secret"},
}


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://127.0.0.1:x", "http://127.0.0.1/api?x=1"],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="not a server's URL"):
        Client(url, "token")


@pytest.mark.parametrize("url", ["http://fleet.example", "http://192.168.1.2:8080"])
def test_a_token_is_not_sent_in_clear_to_another_machine(url: str) -> None:
    with pytest.raises(ConfigError, match="unencrypted"):
        Client(url, "token")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/", "http://localhost:1", "http://[::1]:1", "https://fleet.example"]
)
def test_this_machine_and_encrypted_connections_are_fine(url: str) -> None:
    with Client(url, "token") as client:
        assert client.server == url.rstrip("/")


def test_a_token_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(tmp_path / "nothing")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        read_token(tmp_path / "empty")
    (tmp_path / "token").write_text("abc\n")
    assert read_token(tmp_path / "token") == "abc"


def test_a_folder_that_cannot_be_written_is_said_before_the_server_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    def ask() -> Any:
        pytest.fail("the password would be lost")

    with pytest.raises(StorageError, match="cannot be written"):
        make_device_folder(tmp_path / "file" / "pi", ask)


def test_a_refused_device_leaves_an_existing_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")

    def ask() -> Any:
        raise ConflictError("known")

    with pytest.raises(ConflictError):
        make_device_folder(tmp_path, ask)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_folder_that_fills_up_afterwards_says_what_to_do(tmp_path: Path) -> None:
    def ask() -> Any:
        (tmp_path / "root.json").mkdir()
        return ANSWER

    with pytest.raises(StorageError) as failed:
        make_device_folder(tmp_path, ask)
    assert "another id" in failed.value.remedy


class Looks:
    """A server that gives its looks one after another; an exception is raised."""

    def __init__(self, *looks: Any) -> None:
        self.looks = list(looks)

    def get(self, path: str) -> Any:
        assert path.startswith("/api/v1/rollouts")
        look = self.looks.pop(0)
        if isinstance(look, Exception):
            raise look
        return look


def test_watching_survives_a_restart_of_the_server() -> None:
    away = ServerUnavailableError("no server answers")
    said: list[str] = []
    looks = Looks({"state": "running"}, away, away, {"state": "running"}, {"state": "succeeded"})
    seen = [look["state"] for look in follow(looks, "r", said.append, interval_s=0)]
    assert seen == ["running", "running", "succeeded"]
    assert said == ["no server answers"]


def test_watching_gives_up_on_a_server_that_stays_away() -> None:
    looks = Looks(*[ServerUnavailableError("away")] * 2)
    with pytest.raises(ServerUnavailableError):
        list(follow(looks, "r", lambda _: None, interval_s=0, patience_s=0))


def test_the_newest_rollout_is_watched_when_none_is_named() -> None:
    assert choose_rollout(Looks([{"id": "new"}, {"id": "old"}]), None) == "new"
    assert choose_rollout(Looks(), "named") == "named"
    with pytest.raises(NotFoundError):
        choose_rollout(Looks([]), None)


def shown(table: Table) -> list[str]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_device_without_models_has_a_line_too() -> None:
    device = {"id": "pi", "profile": "p", "online": False, "heat": None, "models": {}}
    assert shown(tables.devices_table([device]))[1].split() == ["pi", "p", "offline"]


def test_a_device_with_two_models_has_two_lines() -> None:
    model = {
        "desired": "1.0.0",
        "version": None,
        "variant": None,
        "delegate": {"actual": "xnnpack"},
        "threads": 2,
        "state": "failed",
        "reason": "trial",
    }
    device = {
        "id": "pi",
        "profile": "p",
        "online": True,
        "heat": {"level": "normal"},
        "models": {"a": model, "b": model},
    }
    first, second = shown(tables.devices_table([device]))[1:]
    assert first.split() == ["pi", "p", "online", "a", "1.0.0", "xnnpack", "2", "failed", "(trial)"]
    assert second.split() == ["b", "1.0.0", "xnnpack", "2", "failed", "(trial)"]


def test_a_device_that_holds_back_says_why() -> None:
    def heat_of(**heat: object) -> str:
        device = {"id": "pi", "profile": "p", "online": True, "heat": heat, "models": {}}
        return " ".join(shown(tables.devices_table([device]))[1].split()[3:])

    assert (
        heat_of(level="slowed", causes=["throttled", "under-voltage"]) == "slowed (throttled, under-voltage)"
    )
    assert heat_of(level="eased", causes=[]) == "eased"


def test_requests_of_throttled_windows_stand_in_their_own_column() -> None:
    row: dict[str, object] = {"device": "pi", "model": "m", "version": "1", "variant": "v", "errors": 0}
    row |= {f"latency_ms_{key}": 1.0 for key in ("mean", "p50", "p95", "p99")}
    row |= {"requests": 9, "rss_bytes": 1 << 20, "delegate": None, "last": "2026-11-21T12:00:00"}
    plain = {**row, "throttled_windows": 0, "throttled_requests": 0}
    marked = {**row, "throttled_windows": 2, "throttled_requests": 7}
    first, second = shown(tables.telemetry_table([plain, marked]))[1:]
    assert first.split()[-4:] == ["1", "MiB", "2026-11-21", "12:00:00"]
    assert second.split()[-3:] == ["7", "2026-11-21", "12:00:00"]
