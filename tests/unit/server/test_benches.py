from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from contract.bench import Bench, BenchAck, BenchHeat
from contract.messages import DelegateReport
from server.api.benches import bench_view
from server.ctl import tables
from server.ingest.intake import Effects, take_in
from server.storage.benches import KEPT, KEPT_OF_DEVICE
from server.storage.repository import Storage
from tests.support.contract_builders import a_bench_process, a_bench_result
from tests.support.server_storage import NOON, a_storage, inbound

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with a_storage(tmp_path, "d", "e") as made:
        yield made


def a_bench(bench_id: str, **changes: object) -> Bench:
    return Bench(v=1, id=bench_id, at=NOON, result=a_bench_result(**changes))


def take(storage: Storage, device: str, *benches: Bench) -> Effects:
    effects = Effects()
    with storage.write() as rows:
        for bench in benches:
            take_in(rows, inbound(device, bench), effects, LATER)
    return effects


def newest(storage: Storage, **wanted: str) -> list[tuple[str, str]]:
    with storage.read() as rows:
        return [(found.device, found.id) for found in rows.benches.newest(limit=100, **wanted)]


def test_a_bench_is_kept_as_it_was_sent_and_acknowledged(storage: Storage) -> None:
    bench = a_bench("n-1")
    effects = take(storage, "d", bench)
    assert effects.bench_acks == {("d", "n-1"): BenchAck(v=1, id="n-1")}
    assert effects.seen == {"d"}
    with storage.read() as rows:
        found = rows.benches.find("d", "n-1")
    assert found is not None
    assert (found.result, found.at, found.received_at) == (bench.result, NOON, LATER)


def test_a_bench_that_is_sent_again_is_kept_once_and_acknowledged_again(storage: Storage) -> None:
    take(storage, "d", a_bench("n-1"))
    effects = take(storage, "d", a_bench("n-1"))
    assert list(effects.bench_acks) == [("d", "n-1")]
    assert newest(storage) == [("d", "n-1")]


def test_a_bench_of_an_unknown_device_is_neither_kept_nor_acknowledged(storage: Storage) -> None:
    assert take(storage, "stranger", a_bench("n-1")) == Effects()
    assert newest(storage) == []


def test_two_devices_may_call_theirs_the_same(storage: Storage) -> None:
    take(storage, "d", a_bench("n-1"))
    take(storage, "e", a_bench("n-1"))
    assert newest(storage) == [("e", "n-1"), ("d", "n-1")]


def test_they_are_found_by_model_device_and_version(storage: Storage) -> None:
    take(storage, "d", a_bench("n-1"), a_bench("n-2", version="2.0.0"), a_bench("n-3", model="birds"))
    take(storage, "e", a_bench("n-4"))
    assert newest(storage, model="digits") == [("e", "n-4"), ("d", "n-2"), ("d", "n-1")]
    assert newest(storage, device="d", version="1.1.0") == [("d", "n-3"), ("d", "n-1")]


def test_of_a_device_and_model_only_the_newest_are_kept(storage: Storage) -> None:
    take(storage, "d", a_bench("other", model="birds"))
    take(storage, "e", a_bench("elsewhere"))
    take(storage, "d", *(a_bench(f"n-{number}") for number in range(KEPT + 3)))
    kept = newest(storage, device="d", model="digits")
    assert kept == [("d", f"n-{number}") for number in range(KEPT + 2, 2, -1)]
    assert newest(storage, model="birds") == [("d", "other")]
    assert newest(storage, device="e") == [("e", "elsewhere")]


def test_a_device_cannot_fill_the_database_with_names_of_models(storage: Storage) -> None:
    take(storage, "d", *(a_bench(f"n-{number}", model=f"m-{number}") for number in range(KEPT_OF_DEVICE + 2)))
    with storage.read() as rows:
        kept = rows.benches.newest(device="d", limit=KEPT_OF_DEVICE + 10)
    assert [bench.id for bench in kept][-1] == "n-2"
    assert len(kept) == KEPT_OF_DEVICE


def test_people_see_whether_it_counts_and_what_to_know(storage: Storage) -> None:
    fallen = DelegateReport(requested="edgetpu", actual="xnnpack", reason="\x1b[31mno-device")
    take(
        storage,
        "d",
        a_bench("n-1", requests_meanwhile=0),
        a_bench(
            "n-2",
            processes=(a_bench_process(0.2, delegate=fallen),),
            heat=(BenchHeat(),),
            requests_meanwhile=7,
        ),
    )
    with storage.read() as rows:
        views = [bench_view(record).model_dump(mode="json") for record in rows.benches.newest(limit=2)]
    console = Console(width=400, file=io.StringIO())
    with console.capture() as shown:
        console.print(tables.benches_table(views))
    _, second, first = shown.get().splitlines()
    assert "0.220" in first
    assert " yes " in first
    assert "disturbed by 7 requests" in second
    assert "ran on xnnpack instead of edgetpu: \N{REPLACEMENT CHARACTER}[31mno-device" in second
    assert "does not tell whether it throttles" in second
    assert msgspec.json.encode(views)
