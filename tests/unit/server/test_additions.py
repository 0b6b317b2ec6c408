"""What newly signed targets may change."""

from __future__ import annotations

import msgspec
import pytest

from contract.errors import ConflictError, ManifestError
from contract.manifest import serialize_manifest
from server.trust.additions import Target, check_additions, target_of
from tests.support.builders import PROFILE, a_manifest

OLD = f"digits/1.0.0/{PROFILE}/manifest.json"
NEW = f"digits/1.1.0/{PROFILE}/manifest.json"
OLD_BYTES = serialize_manifest(a_manifest())
NEW_BYTES = serialize_manifest(a_manifest(version="1.1.0"))
TRUSTED = {OLD: target_of(OLD_BYTES)}


def faults_of(offered: dict[str, Target], manifests: dict[str, bytes]) -> str:
    with pytest.raises(ManifestError) as refused:
        check_additions(TRUSTED, offered, manifests)
    return "; ".join(refused.value.faults)


def test_a_new_version_beside_the_old_one_is_accepted() -> None:
    check_additions(TRUSTED, {**TRUSTED, NEW: target_of(NEW_BYTES)}, {NEW: NEW_BYTES})


def test_nothing_new_is_accepted() -> None:
    check_additions(TRUSTED, TRUSTED, {})


def test_a_withdrawn_target_is_refused() -> None:
    with pytest.raises(ConflictError) as refused:
        check_additions(TRUSTED, {NEW: target_of(NEW_BYTES)}, {NEW: NEW_BYTES})
    assert refused.value.faults == (f"{OLD}: missing",)


@pytest.mark.parametrize(
    "changed",
    [
        target_of(NEW_BYTES),
        Target(length=len(OLD_BYTES) + 1, hashes=target_of(OLD_BYTES).hashes),
        Target(length=len(OLD_BYTES), hashes=target_of(OLD_BYTES).hashes, extra=True),
    ],
)
def test_a_published_version_with_other_content_is_refused(changed: Target) -> None:
    with pytest.raises(ConflictError) as refused:
        check_additions(TRUSTED, {OLD: changed}, {OLD: NEW_BYTES})
    assert refused.value.faults == (f"{OLD}: changed",)


def test_a_target_without_its_manifest_is_refused() -> None:
    assert "no manifest came along" in faults_of({**TRUSTED, NEW: target_of(NEW_BYTES)}, {})


def test_a_manifest_that_nobody_signed_is_refused() -> None:
    assert "not among the new targets" in faults_of(TRUSTED, {NEW: NEW_BYTES})


def test_a_manifest_of_another_length_or_digest_is_refused() -> None:
    signed = target_of(NEW_BYTES)
    for wrong in (
        Target(length=signed.length + 1, hashes=signed.hashes),
        Target(length=signed.length, hashes={"sha256": "0" * 64}),
        Target(length=signed.length, hashes={**signed.hashes, "sha512": "0" * 128}),
        Target(length=signed.length, hashes=signed.hashes, extra=True),
    ):
        assert "length or digest" in faults_of({**TRUSTED, NEW: wrong}, {NEW: NEW_BYTES})


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/passwd",
        "/etc/passwd",
        f"digits/1.1.0/{PROFILE}/manifest.json/x",
        f"digits/1.1.0/{PROFILE}/artifact",
        f"other/1.1.0/{PROFILE}/manifest.json",
        "",
    ],
)
def test_an_arbitrary_target_path_is_refused(path: str) -> None:
    found = faults_of({**TRUSTED, path: target_of(NEW_BYTES)}, {path: NEW_BYTES})
    assert f"the manifest belongs at {NEW}" in found


def test_a_manifest_whose_names_are_paths_is_refused() -> None:
    content = serialize_manifest(msgspec.structs.replace(a_manifest(), model="../..", version="/"))
    path = f"../..///{PROFILE}/manifest.json"
    found = faults_of({**TRUSTED, path: target_of(content)}, {path: content})
    assert "is not a model name" in found
    assert "is not a version" in found


def test_an_incomplete_manifest_is_refused_with_every_fault() -> None:
    content = serialize_manifest(a_manifest(version="1.1.0", golden=None, requires=None))
    found = faults_of({**TRUSTED, NEW: target_of(content)}, {NEW: content})
    assert "golden: missing" in found
    assert "requires: missing" in found


def test_what_is_no_manifest_is_refused() -> None:
    assert "cannot be read" in faults_of({**TRUSTED, NEW: target_of(b"[]")}, {NEW: b"[]"})
