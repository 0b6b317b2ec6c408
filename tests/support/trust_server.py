"""A real HTTP server made of the trust routes, over folders a test can look into and spoil."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from contract.manifest import Manifest
from server.api import artifacts, releases, trust
from server.api.errors import install_error_answers
from server.api.releases import ReleaseRow
from server.storage.artifacts import ArtifactStore
from server.trust.access import Access, Role, create_tokens, token_path
from server.trust.repository import TufRepository


class ReleasesInMemory:
    """A ReleaseStore without a database."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], dict[str, str]] = {}
        self.published_at: dict[tuple[str, str], datetime] = {}

    def find(self, model: str, version: str) -> Mapping[str, str]:
        return self.kept.get((model, version), {})

    def add(self, manifest: Manifest, manifest_sha256: str, at: datetime) -> None:
        key = (manifest.model, manifest.version)
        assert manifest.profile not in self.kept.setdefault(key, {})
        self.kept[key][manifest.profile] = manifest_sha256
        self.published_at.setdefault(key, at)

    def rows(self) -> Sequence[ReleaseRow]:
        return [
            ReleaseRow(model, version, sorted(profiles), self.published_at[model, version])
            for (model, version), profiles in self.kept.items()
        ]


Asgi = Callable[[Any, Any, Any], Any]


@dataclass
class TrustServer:
    """What a test needs of a running server."""

    url: str
    folder: Path
    tuf: TufRepository
    artifacts: ArtifactStore
    releases: ReleasesInMemory
    requests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def publisher_token(self) -> str:
        return token_path(self.folder / "secrets", Role.PUBLISHER).read_text().strip()

    @property
    def operator_token(self) -> str:
        return token_path(self.folder / "secrets", Role.OPERATOR).read_text().strip()

    @property
    def metadata(self) -> Path:
        return self.folder / "tuf" / "metadata"


def a_repository(folder: Path, **changes: Any) -> TufRepository:
    """A TUF repository in a folder, with its online key beside it."""
    key = folder / "secrets" / "online.key"
    if not key.exists():
        TufRepository.create_online_key(key)
    return TufRepository(folder / "tuf", key, **changes)


@contextlib.contextmanager
def running(folder: Path, *, wrap: Callable[[Asgi], Asgi] = lambda app: app) -> Iterator[TrustServer]:
    """Serve a folder, which is filled when it is empty.

    Args:
        folder: State of the server; kept when it ends.
        wrap: Puts something between the network and the application.
    """
    if not token_path(folder / "secrets", Role.OPERATOR).exists():
        create_tokens(folder / "secrets")
    app = FastAPI()
    install_error_answers(app)
    for module in (artifacts, releases, trust):
        app.include_router(module.router)
    server = TrustServer(
        url="",
        folder=folder,
        tuf=a_repository(folder),
        artifacts=ArtifactStore(folder / "artifacts"),
        releases=ReleasesInMemory(),
    )
    app.state.access = Access(folder / "secrets")
    app.state.tuf, app.state.artifacts, app.state.releases = server.tuf, server.artifacts, server.releases
    server.tuf.refresh(datetime.now(timezone.utc))

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            server.requests.append((scope["method"], scope["path"]))
        await wrap(app)(scope, receive, send)

    with serving(counting) as url:
        server.url = url
        yield server


@contextlib.contextmanager
def serving(app: Asgi) -> Iterator[str]:
    """Run an ASGI application in a thread on a free port of loopback; gives its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=2)
        instance = uvicorn.Server(config)
        thread = threading.Thread(target=instance.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not instance.started:
            assert thread.is_alive(), "the server ended before it started"
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            instance.should_exit = True
            thread.join(timeout=20)
            assert not thread.is_alive(), "the server did not end in time"
