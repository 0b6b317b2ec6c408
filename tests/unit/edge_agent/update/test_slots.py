from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from contract.errors import DigestError, LitefleetError, ManifestError, StorageError
from edge_agent.update.slot_table import EMPTY, SlotContent, SlotTable
from edge_agent.update.slots import SLOTS_FILE, Slots, check_slot, read_slot_table
from tests.support.builders import GOLDEN_BYTES, MODEL_BYTES, PROFILE, a_manifest

NEW = SlotContent(version="1.1.0", variant="float32", digest="b" * 64)


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    return Slots(tmp_path / "digits")


def filled(folder: Path) -> Path:
    """A slot as fetching leaves it."""
    (folder / "artifacts").mkdir(parents=True)
    for content in (MODEL_BYTES, GOLDEN_BYTES):
        (folder / "artifacts" / hashlib.sha256(content).hexdigest()).write_bytes(content)
    (folder / "manifest.json").write_bytes(msgspec.json.encode(a_manifest()))
    (folder / "variant").write_bytes(b'{"name":"float32"}')
    return folder


def check(folder: Path, **changes: str) -> SlotContent:
    return check_slot(folder, **{"model": "digits", "version": "1.0.0", "profile": PROFILE, **changes})


def test_what_was_written_is_found_again(slots: Slots, tmp_path: Path) -> None:
    slots.empty("a")
    slots.record_staged("a", NEW)
    slots.switch("a")
    slots.mark_good()
    table = read_slot_table(tmp_path / "digits")
    assert table == slots.table == Slots(tmp_path / "digits").table
    assert table.running == msgspec.structs.replace(NEW, good=True)


def test_a_slot_is_emptied_and_the_other_one_stays(slots: Slots) -> None:
    filled(slots.path("b"))
    slots.record_staged("b", NEW)
    slots.switch("b")
    filled(slots.path("a"))
    slots.empty("a")
    assert [*slots.path("a").rglob("*")] == [slots.path("a") / "artifacts"]
    assert check(slots.path("b")).variant == "float32"
    assert slots.table == SlotTable(active="b", b=NEW)


def test_emptying_an_empty_slot_touches_nothing(slots: Slots) -> None:
    slots.empty("a")
    before = slots.path("a").stat().st_ino
    slots.empty("a")
    assert slots.path("a").stat().st_ino == before


def test_half_fetched_artifacts_of_other_versions_are_removed(slots: Slots) -> None:
    for version in ("1.0.0", "1.1.0"):
        slots.parts_dir(version).mkdir(parents=True)
    slots.clear_parts(but="1.1.0")
    assert [slots.parts_dir(version).exists() for version in ("1.0.0", "1.1.0")] == [False, True]
    slots.clear_parts()
    assert not slots.parts_dir("1.1.0").exists()


def test_removing_a_model_leaves_nothing(slots: Slots, tmp_path: Path) -> None:
    filled(slots.path("a"))
    slots.switch("a")
    slots.remove()
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("content", [b"{", b'{"active":"c"}', b'{"active":"a","a":{"digest":"x"}}'])
def test_a_damaged_table_is_a_storage_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SLOTS_FILE).write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        Slots(tmp_path)
    Slots.put_aside(tmp_path)
    assert Slots(tmp_path).table == SlotTable()


def test_a_complete_slot_is_what_it_says(tmp_path: Path) -> None:
    content = check(filled(tmp_path / "a"))
    assert content == SlotContent(
        version="1.0.0", variant="float32", digest=hashlib.sha256(MODEL_BYTES).hexdigest()
    )
    assert content != EMPTY


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("manifest.json", None, StorageError),
        ("variant", None, StorageError),
        ("manifest.json", b"{}", ManifestError),
        ("variant", b'{"name":"int4"}', ManifestError),
        ("artifacts/" + hashlib.sha256(MODEL_BYTES).hexdigest(), b"rotten", DigestError),
        ("artifacts/" + hashlib.sha256(GOLDEN_BYTES).hexdigest(), b"rotten", DigestError),
        ("artifacts/" + hashlib.sha256(MODEL_BYTES).hexdigest(), None, StorageError),
    ],
)
def test_a_slot_that_is_not_whole_is_refused(
    tmp_path: Path, name: str, content: bytes | None, error: type[LitefleetError]
) -> None:
    path = filled(tmp_path / "a") / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(error):
        check(tmp_path / "a")


@pytest.mark.parametrize("asked", [{"version": "1.1.0"}, {"model": "zebras"}, {"profile": "raspberry-pi-4"}])
def test_a_slot_with_another_release_is_refused(tmp_path: Path, asked: dict[str, str]) -> None:
    with pytest.raises(ManifestError, match="not usable"):
        check(filled(tmp_path / "a"), **asked)
