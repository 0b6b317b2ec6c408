from __future__ import annotations

from pathlib import Path

from edge_agent.inference.admission import (
    RESERVE_BYTES,
    WORKER_BYTES,
    Admission,
    Swap,
    decide_admission,
    need_bytes,
)
from edge_agent.inference.room import held_bytes, mib, room_bytes

MIB = 1 << 20


def test_a_candidate_that_fits_is_started_beside_the_active_one() -> None:
    assert decide_admission(50 * MIB, 50 * MIB + RESERVE_BYTES, 0, Swap.BESIDE) is Admission.BESIDE


def test_a_candidate_that_eats_the_reserve_is_refused() -> None:
    room = 50 * MIB + RESERVE_BYTES - 1
    assert decide_admission(50 * MIB, room, 40 * MIB, Swap.BESIDE) is Admission.REFUSED


def test_where_a_gap_is_allowed_the_active_one_makes_room() -> None:
    assert decide_admission(50 * MIB, 40 * MIB, 40 * MIB, Swap.GAP) is Admission.GAP


def test_a_candidate_that_would_not_fit_alone_either_is_refused_and_the_active_one_stays() -> None:
    assert decide_admission(50 * MIB, 10 * MIB, 20 * MIB, Swap.GAP) is Admission.REFUSED


def test_a_gap_without_an_active_worker_gains_nothing() -> None:
    assert decide_admission(50 * MIB, 40 * MIB, 0, Swap.GAP) is Admission.REFUSED


def test_a_worker_needs_more_than_its_interpreter() -> None:
    assert need_bytes(3 * MIB) == 3 * MIB + WORKER_BYTES


def a_machine(folder: Path, *, group: str = "0::/a/b\n") -> Path:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/meminfo").write_text("MemTotal: 900000 kB\nMemAvailable:    500000 kB\n")
    (folder / "proc/self/cgroup").write_text(group)
    return folder


def limit(folder: Path, group: str, most: str, used: int, inactive: int) -> None:
    path = folder / "sys/fs/cgroup" / group
    path.mkdir(parents=True, exist_ok=True)
    (path / "memory.max").write_text(f"{most}\n")
    (path / "memory.current").write_text(f"{used}\n")
    (path / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")


def test_without_limits_the_machine_decides(tmp_path: Path) -> None:
    assert room_bytes(a_machine(tmp_path)) == 500_000 * 1024


def test_the_tightest_group_decides_and_its_idle_file_pages_count_as_free(tmp_path: Path) -> None:
    machine = a_machine(tmp_path)
    limit(machine, "a/b", "max", 10, 0)
    limit(machine, "a", str(100 * MIB), 80 * MIB, 5 * MIB)
    assert room_bytes(machine) == 25 * MIB


def test_a_group_beyond_its_limit_has_no_room(tmp_path: Path) -> None:
    machine = a_machine(tmp_path)
    limit(machine, "a/b", str(MIB), 2 * MIB, 0)
    assert room_bytes(machine) == 0


def test_groups_of_version_1_and_names_that_lead_outside_do_not_limit(tmp_path: Path) -> None:
    assert room_bytes(a_machine(tmp_path / "one", group="4:memory:/a\n")) == 500_000 * 1024
    assert room_bytes(a_machine(tmp_path / "two", group="0::/../../..\n")) == 500_000 * 1024


def test_a_machine_that_tells_nothing_does_not_limit(tmp_path: Path) -> None:
    assert room_bytes(tmp_path) > 1 << 60


def test_what_a_process_holds_is_read_and_nothing_of_one_that_has_ended(tmp_path: Path) -> None:
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/smaps_rollup").write_text("Pss: 9 kB\nPrivate_Dirty:     2048 kB\n")
    assert held_bytes(7, tmp_path) == 2 * MIB
    assert held_bytes(8, tmp_path) == 0
    assert mib(2 * MIB) == "2 MiB"
