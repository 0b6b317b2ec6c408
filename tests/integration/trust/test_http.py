"""The trust routes as a stranger meets them: roles, bounds, ranges, and the one form of every refusal."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3
from fastapi import FastAPI

from packager.keys import create_keys
from packager.publish import publish_bundles
from packager.trust import sign_first_root, sign_first_targets, sign_next_targets
from server.api.errors import install_error_answers
from tests.support.builders import PROFILE, a_bundle, a_manifest
from tests.support.trust_folder import NOW, manifest_bytes
from tests.support.trust_server import TrustServer, running, serving

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustServer]:
    with running(tmp_path_factory.mktemp("server")) as instance:
        keys = create_keys(instance.folder / "keys").folder
        bundle = a_bundle(instance.folder / "bundles")
        token = instance.publisher_token
        publish_bundles([bundle], server=instance.url, token=token, keys=keys, echo=lambda _: None)
        yield instance


@pytest.fixture(scope="module")
def pool() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=TIMEOUT_S) as manager:
        yield manager


class Client:
    """Asks the server as somebody."""

    def __init__(self, server: TrustServer, pool: urllib3.PoolManager) -> None:
        self._server = server
        self._pool = pool

    def ask(
        self, method: str, path: str, *, role: str = "publisher", body: Any = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        tokens = {"publisher": self._server.publisher_token, "operator": self._server.operator_token}
        if role != "nobody":
            headers["Authorization"] = f"Bearer {tokens.get(role, role)}"
        return self._pool.request(method, self._server.url + path, body=body, headers=headers, redirect=False)


@pytest.fixture
def client(server: TrustServer, pool: urllib3.PoolManager) -> Client:
    return Client(server, pool)


def refusal(answer: urllib3.BaseHTTPResponse) -> tuple[int, str]:
    body = json.loads(answer.data)
    assert set(body) == {"code", "message", "faults", "remedy"}
    return answer.status, body["code"]


PROTECTED = [
    ("POST", "/api/v1/trust"),
    ("POST", "/api/v1/releases"),
    ("PUT", f"/api/v1/artifacts/{DIGEST}"),
]


@pytest.mark.parametrize(("method", "path"), [*PROTECTED, ("GET", "/api/v1/releases")])
@pytest.mark.parametrize("role", ["nobody", "guessed", "", "operatör"])
def test_without_a_valid_token_nothing_is_possible(client: Client, method: str, path: str, role: str) -> None:
    answer = client.ask(method, path, role=role, body=b"")
    assert refusal(answer) == (401, "access")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_the_operator_may_not_publish(client: Client, method: str, path: str) -> None:
    assert refusal(client.ask(method, path, role="operator", body=b"")) == (403, "forbidden")


def test_another_scheme_is_no_token(client: Client, server: TrustServer, pool: urllib3.PoolManager) -> None:
    headers = {"Authorization": f"Basic {server.operator_token}"}
    assert refusal(pool.request("GET", f"{server.url}/api/v1/releases", headers=headers)) == (401, "access")


@pytest.mark.parametrize("role", ["operator", "publisher"])
def test_both_roles_read_releases_and_the_online_key(client: Client, role: str) -> None:
    (row,) = json.loads(client.ask("GET", "/api/v1/releases", role=role).data)
    assert (row["model"], row["version"], row["profiles"]) == ("digits", "1.0.0", [PROFILE])
    assert row["published_at"].endswith("+00:00")
    key = json.loads(client.ask("GET", "/api/v1/trust/online-key", role=role).data)
    assert set(key) == {"keyid", "keytype", "scheme", "keyval"}


def test_signed_metadata_needs_no_token(client: Client) -> None:
    for name in ("1.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"):
        answer = client.ask("GET", f"/tuf/metadata/{name}", role="nobody")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert "signatures" in json.loads(answer.data)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/tuf/metadata/9.root.json", 404),
        ("/tuf/metadata/online.key", 404),
        ("/tuf/metadata/..%2f..%2fsecrets%2fonline.key", 404),
        (f"/tuf/targets/digits/1.0.0/{PROFILE}/{'0' * 64}.manifest.json", 404),
        (f"/tuf/targets/digits/1.0.0/{PROFILE}/x.manifest.json", 400),
        (f"/tuf/targets/..%2f../1.0.0/{PROFILE}/{'0' * 64}.manifest.json", 404),
        (f"/tuf/targets/%2e%2e/1.0.0/{PROFILE}/{'0' * 64}.manifest.json", 400),
        (f"/artifacts/{'0' * 64}", 404),
        ("/artifacts/..%2fsecrets%2foperator.token", 404),
        ("/artifacts/operator.token", 400),
        ("/artifacts/%2e%2e", 400),
        ("/nothing", 404),
    ],
)
def test_what_is_not_there_is_refused_in_the_same_form(client: Client, path: str, status: int) -> None:
    assert refusal(client.ask("GET", path, role="nobody"))[0] == status


def test_a_method_that_does_not_exist_is_refused_in_the_same_form(client: Client) -> None:
    assert refusal(client.ask("DELETE", f"/artifacts/{DIGEST}"))[0] == 405


def test_an_artifact_is_created_once_and_read_by_range(client: Client) -> None:
    content = CONTENT + b"ranges"
    path = f"/artifacts/{hashlib.sha256(content).hexdigest()}"
    assert client.ask("HEAD", path, role="nobody").status == 404
    assert client.ask("PUT", f"/api/v1{path}", body=content).status == 201
    assert client.ask("PUT", f"/api/v1{path}", body=content).status == 200
    assert client.ask("HEAD", f"/api/v1{path}").status == 200
    head = client.ask("HEAD", path, role="nobody")
    assert (head.status, head.headers["content-length"]) == (200, str(len(content)))
    assert client.ask("GET", path, role="nobody").data == content
    part = client.ask("GET", path, role="nobody", Range="bytes=1000-")
    assert (part.status, part.data) == (206, content[1000:])
    assert part.headers["content-range"] == f"bytes 1000-{len(content) - 1}/{len(content)}"
    assert client.ask("GET", path, role="nobody", Range=f"bytes={len(content)}-").status == 416


def test_other_bytes_than_the_digest_are_refused(client: Client, server: TrustServer) -> None:
    assert refusal(client.ask("PUT", f"/api/v1/artifacts/{DIGEST}", body=CONTENT[:-1])) == (400, "digest")
    assert not server.artifacts.has(DIGEST)
    assert refusal(client.ask("PUT", "/api/v1/artifacts/x", body=CONTENT)) == (400, "manifest")
    assert client.ask("HEAD", f"/api/v1/artifacts/{DIGEST}").status == 404


def test_an_artifact_announced_above_the_limit_is_refused_unread(server: TrustServer) -> None:
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=TIMEOUT_S)
    try:
        connection.putrequest("PUT", f"/api/v1/artifacts/{DIGEST}")
        connection.putheader("Authorization", f"Bearer {server.publisher_token}")
        connection.putheader("Content-Length", str((2 << 30) + 1))
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (413, "too-large")
    finally:
        connection.close()


def test_an_upload_that_breaks_off_leaves_nothing(server: TrustServer) -> None:
    incoming = server.folder / "artifacts" / ".incoming"
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as connection:
        head = (
            f"PUT /api/v1/artifacts/{DIGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(CONTENT)}\r\n"
            f"Authorization: Bearer {server.publisher_token}\r\n\r\n"
        )
        connection.sendall(head.encode() + CONTENT[:100_000])
        wait_until(lambda: any(incoming.iterdir()))
    wait_until(lambda: not any(incoming.iterdir()))
    assert not server.artifacts.has(DIGEST)


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_body_above_the_limit_is_refused(client: Client) -> None:
    assert refusal(client.ask("POST", "/api/v1/releases", body=bytes((32 << 20) + 1))) == (413, "too-large")


def test_a_request_that_breaks_off_is_dropped(client: Client, server: TrustServer) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as connection:
        head = (
            "POST /api/v1/releases HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            f"Authorization: Bearer {server.publisher_token}\r\n\r\n"
        )
        connection.sendall(head.encode() + b"{")
        wait_until(lambda: server.requests[-1] == ("POST", "/api/v1/releases"))
    assert client.ask("GET", "/api/v1/releases").status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"manifests": 1, "targets": ""}',
        b'{"manifests": ["x"]}',
        b"\xff",
        b'{"manifests":["\\ud800"],"targets":""}',
    ],
)
def test_a_body_that_is_none_is_refused(client: Client, body: bytes) -> None:
    assert refusal(client.ask("POST", "/api/v1/releases", body=body)) == (400, "message")


def release(manifests: list[bytes], targets: bytes = b"{}") -> bytes:
    texts = [manifest.decode() for manifest in manifests]
    return json.dumps({"manifests": texts, "targets": targets.decode()}).encode()


def test_a_request_has_the_manifests_of_exactly_one_release(client: Client) -> None:
    mixed = release([manifest_bytes(version="2.0.0"), manifest_bytes(version="2.1.0")])
    assert refusal(client.ask("POST", "/api/v1/releases", body=mixed)) == (400, "message")
    assert refusal(client.ask("POST", "/api/v1/releases", body=release([]))) == (400, "message")
    twice = release([manifest_bytes(version="2.0.0")] * 2)
    assert refusal(client.ask("POST", "/api/v1/releases", body=twice)) == (400, "manifest")


def test_an_incomplete_manifest_is_refused_with_every_fault(client: Client) -> None:
    body = release([manifest_bytes(version="2.0.0", golden=None, requires=None)])
    answer = client.ask("POST", "/api/v1/releases", body=body)
    assert refusal(answer) == (400, "manifest")
    assert json.loads(answer.data)["faults"] == ["golden: missing", "requires: missing"]


def test_a_release_whose_artifacts_are_missing_is_refused(client: Client) -> None:
    body = release([manifest_bytes(version="2.0.0", model_bytes=b"never uploaded")])
    answer = client.ask("POST", "/api/v1/releases", body=body)
    assert refusal(answer) == (404, "not-found")
    assert json.loads(answer.data)["faults"] == [
        f"{hashlib.sha256(b'never uploaded').hexdigest()} (14 bytes)"
    ]


def test_a_release_without_a_valid_signature_is_refused(client: Client, tmp_path: Path) -> None:
    thief = create_keys(tmp_path / "thief")
    manifest = a_manifest(version="2.0.0")
    first = sign_first_targets(thief, NOW)
    forged = sign_next_targets(first, {manifest.target_path(): manifest_bytes(version="2.0.0")}, thief, NOW)
    for targets in (b"{}", forged.content):
        body = release([manifest_bytes(version="2.0.0")], targets)
        assert refusal(client.ask("POST", "/api/v1/releases", body=body)) == (400, "signature")


def test_a_published_version_with_other_content_is_a_conflict(client: Client) -> None:
    body = release([manifest_bytes(labels=tuple("abcdefghij"))])
    answer = client.ask("POST", "/api/v1/releases", body=body)
    assert refusal(answer) == (409, "conflict")
    assert "new version" in json.loads(answer.data)["remedy"]


def test_the_same_release_again_is_fine_without_any_signature(client: Client) -> None:
    answer = client.ask("POST", "/api/v1/releases", body=release([manifest_bytes()]))
    assert answer.status == 200
    assert json.loads(answer.data) == {"model": "digits", "version": "1.0.0", "profiles": [PROFILE]}


def test_the_same_trust_again_is_fine_and_another_is_a_conflict(
    client: Client, server: TrustServer, tmp_path: Path
) -> None:
    root = (server.metadata / "1.root.json").read_text()
    targets = (server.metadata / "2.targets.json").read_text()
    same = json.dumps({"root": root, "targets": targets}).encode()
    assert client.ask("POST", "/api/v1/trust", body=same).status == 200
    thief = create_keys(tmp_path / "thief")
    other = {
        "root": sign_first_root(thief, server.tuf.online_key(), NOW).content.decode(),
        "targets": sign_first_targets(thief, NOW).content.decode(),
    }
    answer = client.ask("POST", "/api/v1/trust", body=json.dumps(other).encode())
    assert refusal(answer) == (409, "conflict")


def test_a_bug_shows_nothing_of_its_inside() -> None:
    app = FastAPI()
    install_error_answers(app)

    @app.get("/{number}")
    def fail(number: int) -> None:
        raise KeyError("a secret", number)

    with serving(app) as url, urllib3.PoolManager(retries=False, timeout=TIMEOUT_S) as pool:
        wrong = pool.request("GET", f"{url}/one")
        assert refusal(wrong) == (400, "message")
        assert json.loads(wrong.data)["faults"][0].startswith("path.number: ")
        broken = pool.request("GET", f"{url}/1")
        assert refusal(broken) == (500, "server-unavailable")
        assert b"secret" not in broken.data
