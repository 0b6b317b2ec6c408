from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.errors import StorageError
from contract.messages import Telemetry, decode_message, encode_message
from edge_agent.telemetry.outbox import BATCH_WINDOWS, Outbox
from tests.support.agent_windows import a_window

Open = Callable[..., Outbox]


@pytest.fixture
def outbox_of(tmp_path: Path) -> Iterator[Open]:
    """Opens outboxes on one file, and closes them."""
    opened: list[Outbox] = []

    def open_outbox(boot: str = "b1", max_windows: int = 1000) -> Outbox:
        opened.append(Outbox(tmp_path / "outbox.sqlite", boot, max_windows))
        return opened[-1]

    yield open_outbox
    for outbox in opened:
        outbox.close()


def seqs(telemetry: Telemetry | None) -> list[int]:
    assert telemetry is not None
    return [entry.seq for entry in telemetry.windows]


def test_an_empty_outbox_has_no_batch(outbox_of: Open) -> None:
    outbox = outbox_of()
    assert outbox.next_batch() is None
    assert len(outbox) == 0


def test_windows_come_out_as_they_went_in_and_stay_until_acknowledged(outbox_of: Open) -> None:
    outbox = outbox_of()
    windows = [a_window(1), a_window(2, at_s=10)]
    outbox.add(windows)
    batch = outbox.next_batch()
    assert batch is not None
    assert batch.boot == "b1"
    assert [entry.window for entry in batch.windows] == windows
    assert outbox.next_batch() == batch
    assert decode_message(Telemetry, encode_message(batch)) == batch


def test_a_batch_is_bounded(outbox_of: Open) -> None:
    outbox = outbox_of()
    outbox.add([a_window(1)] * (BATCH_WINDOWS + 5))
    assert seqs(outbox.next_batch()) == list(range(BATCH_WINDOWS))
    outbox.acknowledge("b1", BATCH_WINDOWS - 1)
    assert seqs(outbox.next_batch()) == list(range(BATCH_WINDOWS, BATCH_WINDOWS + 5))
    assert len(outbox) == 5


def test_an_acknowledgement_is_cumulative(outbox_of: Open) -> None:
    outbox = outbox_of()
    outbox.add([a_window(1)] * 5)
    outbox.next_batch()
    assert outbox.acknowledge("b1", 2) == 3
    assert seqs(outbox.next_batch()) == [3, 4]
    assert outbox.acknowledge("b1", 2) == 0


def test_an_acknowledgement_of_what_was_never_sent_frees_nothing(outbox_of: Open) -> None:
    outbox = outbox_of()
    outbox.add([a_window(1)] * (BATCH_WINDOWS + 5))
    outbox.next_batch()
    assert outbox.acknowledge("other", 9) == 0
    assert outbox.acknowledge("b1", 10_000) == BATCH_WINDOWS
    assert len(outbox) == 5


def test_after_a_restart_the_older_boots_windows_go_first_under_their_own_boot(outbox_of: Open) -> None:
    first = outbox_of("b1")
    first.add([a_window(1)] * 3)
    first.close()
    outbox = outbox_of("b2")
    assert len(outbox) == 3
    outbox.add([a_window(2)])
    batch = outbox.next_batch()
    assert batch is not None
    assert (batch.boot, seqs(batch)) == ("b1", [0, 1, 2])
    outbox.acknowledge("b1", 2)
    batch = outbox.next_batch()
    assert batch is not None
    assert (batch.boot, seqs(batch)) == ("b2", [0])


def test_a_full_outbox_gets_coarser_and_forgets_no_request(outbox_of: Open) -> None:
    outbox = outbox_of(max_windows=50)
    for step in range(500):
        assert outbox.add([a_window(3, at_s=10.0 * step)]) == 0
        assert len(outbox) <= 50
    requests, duration, last = 0, 0.0, -1
    while (batch := outbox.next_batch()) is not None:
        for entry in batch.windows:
            assert entry.seq > last
            last = entry.seq
            requests += entry.window.requests
            duration += entry.window.duration_s
        outbox.acknowledge("b1", last)
    assert (requests, duration, last) == (1500, 5000.0, 499)


def test_windows_that_were_sent_are_not_merged_for_the_server_may_have_them(outbox_of: Open) -> None:
    outbox = outbox_of(max_windows=BATCH_WINDOWS + 4)
    outbox.add([a_window(1, at_s=10.0 * step) for step in range(BATCH_WINDOWS)])
    sent = outbox.next_batch()
    outbox.add([a_window(1, at_s=1000.0 + 10.0 * step) for step in range(8)])
    assert outbox.next_batch() == sent
    assert len(outbox) == BATCH_WINDOWS + 4


def test_windows_of_different_versions_are_not_merged(outbox_of: Open) -> None:
    outbox = outbox_of(max_windows=4)
    versions = ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0"]
    dropped = outbox.add([a_window(1, version=version) for version in versions])
    batch = outbox.next_batch()
    assert batch is not None
    assert dropped == 2
    assert [entry.window.version for entry in batch.windows] == versions[2:], "the oldest were dropped"


def test_a_damaged_file_is_put_aside(outbox_of: Open, tmp_path: Path) -> None:
    (tmp_path / "outbox.sqlite").write_bytes(b"this is no database" * 1000)
    outbox = outbox_of()
    outbox.add([a_window(1)])
    assert seqs(outbox.next_batch()) == [0]
    assert (tmp_path / "outbox.sqlite.damaged").exists()


def test_windows_damaged_on_disk_are_dropped_and_the_others_sent(outbox_of: Open, tmp_path: Path) -> None:
    outbox = outbox_of(max_windows=BATCH_WINDOWS + 3)
    outbox.add([a_window(1)] * (BATCH_WINDOWS + 2))
    spoiler = sqlite3.connect(tmp_path / "outbox.sqlite")
    with spoiler:
        spoiler.execute("update windows set window = x'00' where seq < ?", (BATCH_WINDOWS,))
    assert seqs(outbox.next_batch()) == [BATCH_WINDOWS, BATCH_WINDOWS + 1]
    assert len(outbox) == 2
    with spoiler:
        spoiler.execute("update windows set window = x'00', is_sent = 0")
    outbox.add([a_window(1)] * (BATCH_WINDOWS + 3))
    assert len(outbox) <= BATCH_WINDOWS + 3
    spoiler.close()


def test_a_folder_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        Outbox(tmp_path / "nowhere" / "outbox.sqlite", "b1", 10)


def test_a_database_that_refuses_is_a_storage_error(outbox_of: Open, tmp_path: Path) -> None:
    outbox = outbox_of()
    outbox.close()
    with pytest.raises(StorageError, match="cannot add windows"):
        outbox.add([a_window(1)])


def test_the_outbox_survives_the_agents_death(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", "b1", 100)
    outbox.add([a_window(1)])
    # Not closed: as after SIGKILL, another process finds the file and its write-ahead log.
    other = sqlite3.connect(tmp_path / "outbox.sqlite")
    assert other.execute("select count(*) from windows").fetchone() == (1,)
    other.close()
    outbox.close()
