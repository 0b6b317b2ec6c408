"""Publishing over real HTTP with real keys: what the server takes, what it refuses, and what it then has."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from contract.bundle import BundleReader
from contract.errors import (
    AccessError,
    ConfigError,
    ConflictError,
    DigestError,
    ForbiddenError,
    LitefleetError,
    ManifestError,
    NotFoundError,
    RollbackAttackError,
    ServerUnavailableError,
)
from packager.http import Server
from packager.keys import create_keys
from packager.publish import PublishResult, establish_trust, publish_bundles
from packager.trust import read_root, read_targets, sign_first_root, sign_first_targets
from server.api.releases import ReleaseStores, add_missing_rows
from tests.support.builders import PROFILE, a_bundle, a_manifest
from tests.support.trust_network import answering
from tests.support.trust_server import TrustServer, running, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TrustServer]:
    with running(tmp_path / "server") as instance:
        yield instance


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return create_keys(tmp_path / "keys").folder


@pytest.fixture
def said() -> list[str]:
    return []


def publish(server: TrustServer, keys: Path, *bundles: Path, said: list[str] | None = None) -> PublishResult:
    lines = said if said is not None else []
    return publish_bundles(
        bundles, server=server.url, token=server.publisher_token, keys=keys, echo=lines.append
    )


def quiet(line: str) -> None:
    """Show nothing."""


def paths_of(server: TrustServer) -> list[str]:
    return sorted(server.tuf.published())


def test_the_first_publication_establishes_trust_loudly(
    server: TrustServer, keys: Path, tmp_path: Path, said: list[str]
) -> None:
    result = publish(server, keys, a_bundle(tmp_path), said=said)
    assert [(r.model, r.version, r.profiles, r.is_new) for r in result.releases] == [
        ("digits", "1.0.0", (PROFILE,), True)
    ]
    assert result.uploaded_artifacts == 2
    assert said[0].startswith("TRUST ESTABLISHED")
    assert said[-1] == f"published digits 1.0.0 for {PROFILE}"
    assert server.tuf.newest_root() == (keys / "root.json").read_bytes()
    assert server.releases.find("digits", "1.0.0")


def test_trust_can_be_established_before_the_first_release(
    server: TrustServer, keys: Path, said: list[str]
) -> None:
    token = server.publisher_token
    assert establish_trust(server=server.url, token=token, keys=keys, echo=said.append)
    assert not establish_trust(server=server.url, token=token, keys=keys, echo=said.append)
    assert len(said) == 2


def test_several_releases_and_profiles_in_one_command(
    server: TrustServer, keys: Path, tmp_path: Path, said: list[str]
) -> None:
    bundles = [
        a_bundle(tmp_path),
        a_bundle(tmp_path, version="1.1.0", model_bytes=b"second " * 5000),
        a_bundle(tmp_path, version="1.1.0", profile="raspberry-pi-4", model_bytes=b"third " * 5000),
    ]
    result = publish(server, keys, *bundles, said=said)
    assert [(r.version, r.profiles) for r in result.releases] == [
        ("1.0.0", (PROFILE,)),
        ("1.1.0", (PROFILE, "raspberry-pi-4")),
    ]
    assert result.uploaded_artifacts == 4  # the golden inputs are the same file
    assert [row.version for row in server.releases.rows()] == ["1.0.0", "1.1.0"]
    assert len(paths_of(server)) == 3


def test_publishing_the_same_again_changes_nothing_and_says_so(
    server: TrustServer, keys: Path, tmp_path: Path, said: list[str]
) -> None:
    bundle = a_bundle(tmp_path)
    publish(server, keys, bundle)
    before = {path.name: path.read_bytes() for path in server.metadata.iterdir()}
    result = publish(server, keys, bundle, bundle, said=said)
    assert not result.releases[0].is_new
    assert (result.uploaded_artifacts, result.uploaded_bytes) == (0, 0)
    assert said == [f"already published digits 1.0.0 for {PROFILE}"]
    assert {path.name: path.read_bytes() for path in server.metadata.iterdir()} == before


def test_another_profile_may_join_a_release_later(server: TrustServer, keys: Path, tmp_path: Path) -> None:
    first = a_bundle(tmp_path)
    publish(server, keys, first)
    result = publish(server, keys, first, a_bundle(tmp_path, profile="raspberry-pi-4"))
    assert result.releases[0].is_new
    assert sorted(server.releases.find("digits", "1.0.0")) == [PROFILE, "raspberry-pi-4"]


def test_a_version_with_other_content_is_refused_and_changes_nothing(
    server: TrustServer, keys: Path, tmp_path: Path
) -> None:
    publish(server, keys, a_bundle(tmp_path))
    before = {path: path.read_bytes() for path in server.folder.rglob("*") if path.is_file()}
    changed = a_bundle(tmp_path / "again", model_bytes=b"other " * 5000)
    fresh = a_bundle(tmp_path, version="2.0.0", model_bytes=b"fresh " * 5000)
    with pytest.raises(ConflictError, match=r"digits 1\.0\.0 is published with other content") as refused:
        publish(server, keys, fresh, changed)
    assert refused.value.faults == (a_manifest().target_path(),)
    assert {path: path.read_bytes() for path in server.folder.rglob("*") if path.is_file()} == before


def test_two_bundles_that_contradict_each_other_are_refused(
    server: TrustServer, keys: Path, tmp_path: Path
) -> None:
    pair = (a_bundle(tmp_path / "a"), a_bundle(tmp_path / "b", model_bytes=b"other " * 5000))
    with pytest.raises(ManifestError, match="two different bundles"):
        publish(server, keys, *pair)
    with pytest.raises(ManifestError, match="no bundle is given"):
        publish(server, keys)
    assert server.requests == []


def test_a_bundle_damaged_inside_publishes_nothing(server: TrustServer, keys: Path, tmp_path: Path) -> None:
    marker = b"damage me here " * 5000
    bundle = a_bundle(tmp_path, model_bytes=marker)
    content = bundle.read_bytes()
    bundle.write_bytes(content.replace(b"damage me here", b"damage me hair", 1))
    with pytest.raises((DigestError, ManifestError)):
        publish(server, keys, bundle)
    assert paths_of(server) == []


def test_what_went_bad_on_the_servers_disk_is_mended_by_publishing_again(
    server: TrustServer, keys: Path, tmp_path: Path
) -> None:
    bundle = a_bundle(tmp_path)
    publish(server, keys, bundle)
    with BundleReader(bundle) as reader:
        lost, spoiled = reader.manifest.artifacts()
    server.artifacts.path(lost).unlink()
    server.artifacts.path(spoiled).write_bytes(b"x" * 100)
    result = publish(server, keys, bundle)
    assert result.uploaded_artifacts == 2
    assert server.artifacts.verify(lost)
    assert server.artifacts.verify(spoiled)


@pytest.mark.parametrize("role", ["operator", "unknown"])
def test_only_the_publishers_token_may_publish(
    server: TrustServer, keys: Path, tmp_path: Path, role: str
) -> None:
    token = server.operator_token if role == "operator" else "guessed"
    with pytest.raises(AccessError) as refused:
        publish_bundles([a_bundle(tmp_path)], server=server.url, token=token, keys=keys, echo=quiet)
    assert isinstance(refused.value, ForbiddenError) == (role == "operator")
    assert token not in refused.value.diagnostics()
    assert server.tuf.newest_root() is None


def test_another_publishers_keys_are_refused(server: TrustServer, keys: Path, tmp_path: Path) -> None:
    publish(server, keys, a_bundle(tmp_path))
    other = create_keys(tmp_path / "other").folder
    with pytest.raises(ConflictError, match="another publisher's root key"):
        publish(server, other, a_bundle(tmp_path, version="1.1.0"))


def test_keys_of_another_server_are_refused(server: TrustServer, keys: Path, tmp_path: Path) -> None:
    publish(server, keys, a_bundle(tmp_path))
    with running(tmp_path / "second") as second:
        with pytest.raises(ConflictError, match="trusts nobody yet, but these keys belong to a server"):
            publish(second, keys, a_bundle(tmp_path))
        publish(second, create_keys(tmp_path / "other").folder, a_bundle(tmp_path))
        with pytest.raises(ConflictError, match="is not the server that these keys belong to"):
            publish(second, keys, a_bundle(tmp_path))


def test_the_same_keys_on_another_machine_take_over(
    server: TrustServer, keys: Path, tmp_path: Path, said: list[str]
) -> None:
    publish(server, keys, a_bundle(tmp_path))
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    for name in ("root.key", "targets.key"):
        (copy / name).write_bytes((keys / name).read_bytes())
        (copy / name).chmod(0o600)
    publish(server, copy, a_bundle(tmp_path, version="1.1.0"), said=said)
    assert "trusts these keys already" in said[0]
    publish(
        server, keys, a_bundle(tmp_path, version="1.2.0")
    )  # the first machine sees what the second signed
    assert len(paths_of(server)) == 3


def test_rollback_attack_on_the_publisher_is_refused(server: TrustServer, keys: Path, tmp_path: Path) -> None:
    """A server set back to an old state would make the publisher sign the newer releases away."""
    publish(server, keys, a_bundle(tmp_path))
    old = {path.name: path.read_bytes() for path in server.metadata.iterdir()}
    publish(server, keys, a_bundle(tmp_path, version="1.1.0"))
    for path in server.metadata.iterdir():
        path.unlink()
    for name, content in old.items():
        (server.metadata / name).write_bytes(content)
    for cached in (keys / "cache").glob("*.json"):
        cached.unlink()  # the memory of the last signature must do without the client's cache
    with pytest.raises(RollbackAttackError, match="shows targets 2, but these keys signed 3"):
        publish(server, keys, a_bundle(tmp_path, version="1.2.0"))
    assert len(paths_of(server)) == 1


def test_an_answer_lost_after_the_commit_does_no_harm(
    server: TrustServer, keys: Path, tmp_path: Path
) -> None:
    publish(server, keys, a_bundle(tmp_path))
    remembered = (keys / "targets.json").read_bytes()
    bundle = a_bundle(tmp_path, version="1.1.0")
    publish(server, keys, bundle)
    (keys / "targets.json").write_bytes(remembered)  # as if the publisher had died before it knew
    assert not publish(server, keys, bundle).releases[0].is_new
    assert read_targets((keys / "targets.json").read_bytes()).version == 3


def test_a_row_lost_after_the_commit_comes_back(server: TrustServer, keys: Path, tmp_path: Path) -> None:
    bundle = a_bundle(tmp_path)
    publish(server, keys, bundle)
    row = dict(server.releases.find("digits", "1.0.0"))
    stores = ReleaseStores(server.artifacts, server.tuf, server.releases)
    server.releases.kept.clear()
    assert add_missing_rows(stores, datetime.now(timezone.utc)) == 1
    assert server.releases.find("digits", "1.0.0") == row
    assert add_missing_rows(stores, datetime.now(timezone.utc)) == 0
    server.releases.kept.clear()
    publish(server, keys, bundle)
    assert server.releases.find("digits", "1.0.0") == row


def test_two_publishers_at_once_lose_nothing(server: TrustServer, keys: Path, tmp_path: Path) -> None:
    publish(server, keys, a_bundle(tmp_path))
    bundles = [a_bundle(tmp_path, version=f"1.{n}.0", model_bytes=b"%d" % n * 9000) for n in (1, 2, 3)]
    copies = []
    for n in range(len(bundles)):
        copy = tmp_path / f"copy{n}"
        copy.mkdir(mode=0o700)
        for name in ("root.key", "targets.key", "root.json", "targets.json"):
            (copy / name).write_bytes((keys / name).read_bytes())
            (copy / name).chmod(0o600)
        copies.append(copy)
    done: list[int] = []

    def publish_until_it_works(n: int) -> None:
        for _ in range(20):
            try:
                publish(server, copies[n], bundles[n])
            except ConflictError:
                continue
            done.append(n)
            return

    threads = [threading.Thread(target=publish_until_it_works, args=(n,)) for n in range(len(bundles))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(done) == [0, 1, 2]
    assert len(paths_of(server)) == 4
    assert len(server.releases.rows()) == 4


def test_what_expires_soon_is_renewed_while_publishing(
    server: TrustServer, keys: Path, tmp_path: Path, said: list[str]
) -> None:
    old = datetime.now(timezone.utc) - timedelta(days=300)
    key_set = create_keys(tmp_path / "old keys")
    root, targets = sign_first_root(key_set, server.tuf.online_key(), old), sign_first_targets(key_set, old)
    now = datetime.now(timezone.utc)
    server.tuf.establish(root.content, targets.content, now)
    publish(server, key_set.folder, a_bundle(tmp_path), said=said)
    assert said[1].startswith("signatures renewed until")
    newest = server.tuf.newest_root()
    assert newest is not None
    assert (read_root(newest).version, read_root(newest).expires > now + timedelta(days=360)) == (2, True)
    assert (key_set.folder / "root.json").read_bytes() == newest
    publish(server, key_set.folder, a_bundle(tmp_path, version="1.1.0"), said=said)
    assert len([line for line in said if "renewed" in line]) == 1


def test_a_server_that_is_not_there_may_be_tried_again(keys: Path, tmp_path: Path) -> None:
    with pytest.raises(ServerUnavailableError, match="Connection refused"):
        publish_bundles([a_bundle(tmp_path)], server="http://127.0.0.1:9", token="t", keys=keys, echo=quiet)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (502, b"<html>bad gateway</html>", ServerUnavailableError),
        (403, b"<html>forbidden</html>", LitefleetError),
        (404, b"<html>nothing</html>", NotFoundError),
        (302, b"", LitefleetError),
        (409, b'{"code":"conflict","message":"taken","faults":["a"],"remedy":"b"}', ConflictError),
        (418, b'{"code":"from-the-future","message":"x"}', LitefleetError),
    ],
)
def test_every_refusal_becomes_an_error_that_says_whose_fault_it_is(
    status: int, body: bytes, expected: type[LitefleetError]
) -> None:
    with (
        serving(answering(status, body, {"location": "http://127.0.0.1:1/"})) as url,
        Server(url, "token") as client,
        pytest.raises(expected),
    ):
        client.get("/api/v1/trust/online-key")


def test_an_answer_above_the_limit_is_refused() -> None:
    with (
        serving(answering(200, bytes((8 << 20) + 1))) as url,
        Server(url, "token") as client,
        pytest.raises(LitefleetError, match="more than"),
    ):
        client.get("/")


def test_an_online_key_that_is_no_json_is_refused(keys: Path, tmp_path: Path) -> None:
    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        status = 404 if scope["path"] == "/tuf/metadata/1.root.json" else 200
        await answering(status, b"hello")(scope, receive, send)

    with serving(app) as url, pytest.raises(LitefleetError, match="key cannot be understood"):
        publish_bundles([a_bundle(tmp_path)], server=url, token="t", keys=keys, echo=quiet)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://x", "http://", "http://u:p@x/", "http://x/?a=1", "http://x/#a"]
)
def test_what_is_no_server_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="is not a server"):
        Server(url, "token")


@pytest.mark.parametrize("token", ["", " \n", "two\nlines", "tökén"])
def test_what_is_no_token_is_refused_at_once(token: str) -> None:
    with pytest.raises(ConfigError, match="not a token"):
        Server("http://127.0.0.1:1", token)


@pytest.mark.parametrize("url", ["http://192.168.1.5:8080", "http://fleet.example"])
def test_a_token_over_an_open_network_is_warned_of(url: str, caplog: pytest.LogCaptureFixture) -> None:
    Server(url, "secret-token").close()
    assert "unencrypted" in caplog.text
    assert "secret-token" not in caplog.text


@pytest.mark.parametrize("url", ["https://fleet.example", "http://localhost:1/", "http://[::1]:1"])
def test_a_token_that_nobody_can_overhear_is_not_warned_of(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    Server(url, "secret-token").close()
    assert caplog.text == ""
