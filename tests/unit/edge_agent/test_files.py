from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from contract.errors import ConfigError, StorageError
from edge_agent.files import (
    StateLock,
    lock_holder,
    make_folder,
    read_bounded,
    remove_tree,
    storage_errors,
    write_durably,
)


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_durably(path, b"one")
    write_durably(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [*tmp_path.iterdir()] == [path]


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_durably(path, b"one")
    (tmp_path / "x.draft").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        write_durably(path, b"two")
    assert path.read_bytes() == b"one"


def test_reading_is_bounded_and_a_missing_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert read_bounded(path, 3) is None
    path.write_bytes(b"four")
    assert read_bounded(path, 4) == b"four"
    with pytest.raises(StorageError, match="larger than 3 bytes"):
        read_bounded(path, 3)
    with pytest.raises(StorageError, match="cannot read"):
        read_bounded(tmp_path, 3)


def test_a_full_disk_says_what_to_do() -> None:
    with pytest.raises(StorageError) as caught, storage_errors("write x"):
        raise OSError(28, "No space left on device")
    assert caught.value.summary() == "cannot write x: No space left on device - free some disk space"


def test_folders_are_private_and_removed_with_everything_in_them(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    remove_tree(tmp_path / "a")
    remove_tree(tmp_path / "a")
    assert [*tmp_path.iterdir()] == []


def test_a_folder_where_a_file_is_cannot_be_made_or_removed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot make"):
        make_folder(tmp_path / "a")
    with pytest.raises(StorageError, match="cannot remove"):
        remove_tree(tmp_path / "a")


def test_a_second_agent_is_refused_and_the_first_one_named(tmp_path: Path) -> None:
    with StateLock(tmp_path):
        assert lock_holder(tmp_path) == os.getpid()
        with (
            pytest.raises(ConfigError, match=f"another agent \\(process {os.getpid()}\\)"),
            StateLock(tmp_path),
        ):
            pass
    assert lock_holder(tmp_path) is None
    with StateLock(tmp_path):
        pass


def test_nobody_holds_the_lock_of_an_unused_folder(tmp_path: Path) -> None:
    assert lock_holder(tmp_path) is None


def test_a_lock_in_a_folder_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot lock"), StateLock(tmp_path / "nowhere"):
        pass


def test_child_processes_do_not_hold_the_lock(tmp_path: Path) -> None:
    with StateLock(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert lock_holder(tmp_path) is None
    finally:
        child.communicate(b"\n", timeout=20)


def test_a_lock_file_without_a_number_names_no_process(tmp_path: Path) -> None:
    with StateLock(tmp_path):
        (tmp_path / "agent.lock").write_bytes(b"rubbish")
        assert lock_holder(tmp_path) is None
