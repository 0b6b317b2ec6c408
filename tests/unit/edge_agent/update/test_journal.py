from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from contract.deployment import Reason, State
from contract.errors import StorageError
from contract.messages import WIRE_VERSION, Desired, DesiredModel
from edge_agent.update.journal import DESIRED_FILE, JOURNAL_FILE, Journal
from edge_agent.update.machine import RECORD_FORMAT, Record

RECORD = Record(
    format=RECORD_FORMAT,
    deployment="d1",
    model="digits",
    version="1.1.0",
    trial_s=3.0,
    state=State.FETCHING,
    step=1,
    bytes_done=7,
    seconds=1.5,
)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "models", tmp_path)


def spoil(tmp_path: Path, **changes: object) -> None:
    folder = tmp_path / "models" / "digits"
    folder.mkdir(parents=True, exist_ok=True)
    fields = {key: value for key, value in msgspec.to_builtins(RECORD).items() if key not in changes}
    (folder / JOURNAL_FILE).write_bytes(
        msgspec.json.encode({**fields, **{key: value for key, value in changes.items() if value is not None}})
    )


def test_a_record_comes_back_as_it_was_written(journal: Journal) -> None:
    assert journal.read("digits") is None
    journal.write(RECORD)
    assert journal.read("digits") == RECORD
    assert journal.models() == ["digits"]


def test_a_record_is_forgotten(journal: Journal) -> None:
    journal.write(RECORD)
    journal.forget("digits")
    journal.forget("digits")
    assert journal.read("digits") is None


def test_the_same_record_with_fields_of_a_newer_agent_is_understood(journal: Journal, tmp_path: Path) -> None:
    spoil(tmp_path, colour="blue")
    assert journal.read("digits") == RECORD


@pytest.mark.parametrize("changes", [{"state": "verifying-twice"}, {"format": 2}, {"trial_s": "long"}])
def test_a_record_that_is_not_understood_rolls_back(
    journal: Journal, tmp_path: Path, changes: dict[str, object]
) -> None:
    spoil(tmp_path, **changes)
    record = journal.read("digits")
    assert record is not None
    assert (record.state, record.reason) == (State.ROLLING_BACK, Reason.UNKNOWN_STATE)
    assert (record.deployment, record.version, record.step) == ("d1", "1.1.0", 2)


def test_an_end_of_another_format_stays_an_end(journal: Journal, tmp_path: Path) -> None:
    spoil(tmp_path, format=2, state="succeeded")
    record = journal.read("digits")
    assert record is not None
    assert record.state is State.SUCCEEDED


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "zebras"},
        {"model": "../etc", "format": 2},
        {"model": "zebras", "format": 2},
        {"version": None},
    ],
)
def test_a_record_that_says_too_little_or_of_another_model_is_put_aside(
    journal: Journal, tmp_path: Path, changes: dict[str, object]
) -> None:
    spoil(tmp_path, **changes)
    assert journal.peek("digits") is None
    assert (tmp_path / "models" / "digits" / JOURNAL_FILE).exists(), "looking changes nothing"
    assert journal.read("digits") is None
    assert [path.name for path in (tmp_path / "models" / "digits").iterdir()] == [f"{JOURNAL_FILE}.damaged"]


def test_a_record_that_cannot_be_written_leaves_the_one_before(journal: Journal, tmp_path: Path) -> None:
    journal.write(RECORD)
    (tmp_path / "models" / "digits" / f"{JOURNAL_FILE}.draft").mkdir()
    with pytest.raises(StorageError):
        journal.write(msgspec.structs.replace(RECORD, step=2))
    assert journal.read("digits") == RECORD


def test_the_desired_document_comes_back_and_a_damaged_one_is_ignored(
    journal: Journal, tmp_path: Path
) -> None:
    assert journal.read_desired() is None
    desired = Desired(
        v=WIRE_VERSION, revision=3, models={"digits": DesiredModel(version="1.0.0", deployment="d1")}
    )
    journal.write_desired(desired)
    assert journal.read_desired() == desired
    (tmp_path / DESIRED_FILE).write_bytes(b"rubbish")
    assert journal.read_desired() is None


def test_drafts_of_a_power_cut_are_removed(journal: Journal, tmp_path: Path) -> None:
    journal.write(RECORD)
    drafts = [tmp_path / "desired.json.draft", tmp_path / "models" / "digits" / "slots.json.draft"]
    for draft in drafts:
        draft.write_bytes(b"half")
    journal.clear_drafts()
    assert not any(draft.exists() for draft in drafts)
    assert journal.read("digits") == RECORD


def test_a_folder_that_cannot_be_read_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "models").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot read"):
        Journal(tmp_path / "models", tmp_path).models()
