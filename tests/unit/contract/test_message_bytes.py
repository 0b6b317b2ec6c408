"""The exact bytes of every message, both ways."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import pytest

from contract.heat import HeatCause, HeatLevel, HeatReport
from contract.messages import (
    COMPRESS_ABOVE_BYTES,
    MESSAGE_OF,
    DesiredModel,
    Reported,
    ReportedModel,
    SequencedWindow,
    decode_message,
    encode_message,
)
from contract.topics import Kind
from tests.support.contract_builders import EXAMPLES, MODEL_DIGEST, a_bench_process, a_bench_result, a_window

PLAIN: dict[Kind, bytes] = {
    Kind.STATE: b'{"v":1,"online":true,"boot":"b7c1","session":7,"agent_version":"0.1.0",'
    b'"sent_at":"2026-03-01T12:00:00Z"}',
    Kind.INFO: b'{"v":1,"board":"Raspberry Pi 4 Model B Rev 1.4","capabilities":{"profile":"generic-x86-64",'
    b'"arch":"x86_64","memory_bytes":1073741824,"disk_free_bytes":1073741824,"runtimes":[{"name":'
    b'"ai-edge-litert","version":"2.3.0"}],"delegates":["xnnpack"],"agent_version":"0.1.0"}}',
    Kind.REPORTED: b'{"v":1,"revision":3,"models":{"digits":{"version":"1.1.0","variant":"static-int8","digest":"'
    + MODEL_DIGEST.encode()
    + b'","delegate":{"requested":"xnnpack","actual":"xnnpack","nodes_total":9,"nodes_delegated":9},'
    b'"deployment":"d-2","state":"failed","reason":"self-test","detail":"top-1 agreement 0.4 is below 1.0"}}}',
    Kind.DEPLOYMENT: b'{"v":1,"deployment":"d-2","model":"digits","version":"1.1.0","step":2,"before":"assigned",'
    b'"after":"fetching","bytes_done":0,"seconds":0.25,"at":"2026-03-01T12:00:00Z"}',
    Kind.TELEMETRY: b'{"v":1,"boot":"b7c1","windows":[{"seq":1,"window":{"model":"digits","version":"1.1.0",'
    b'"variant":"static-int8","start":"2026-03-01T12:00:00Z","duration_s":10.0,"requests":3,"errors":1,'
    b'"latency":{"count":2,"sum_s":0.0035,"buckets":{"22":1,"24":1}},"rss_bytes":48000000}}]}',
    Kind.EVENT: b'{"v":1,"kind":"rolled-back","at":"2026-03-01T12:00:00Z","model":"digits","version":"1.2.0",'
    b'"reason":"self-test","detail":"top-1 agreement 0.1 is below 0.9"}',
    Kind.BENCH: b'{"v":1,"id":"n-1","at":"2026-03-01T12:00:00Z","result":{"model":"digits","version":"1.1.0",'
    b'"variant":"int8","digest":"'
    + MODEL_DIGEST.encode()
    + b'","profile":"pi-4","board":"Pi 4","runtime":"ai-edge-litert","threads":4,"cores":4,"warm_up_runs":10,'
    b'"processes":[{"latencies_ms":[0.21,0.23],"pss_bytes":24000000,"start_s":0.5,"delegate":{"requested":"xnnpack",'
    b'"actual":"xnnpack"}}],"heat":[{"is_throttled":false,"celsius":51.5}]}}',
    Kind.CHUNK_REQUEST: b'{"v":1,"transfer":"t-1","chunks":[0,1,5]}',
    Kind.DESIRED: b'{"v":1,"revision":4,"models":{"digits":{"version":"1.1.0","deployment":"d-2",'
    b'"rollout":"r-1","trial_s":30.0}}}',
    Kind.ACK: b'{"v":1,"boot":"b7c1","seq":41}',
    Kind.BENCH_ACK: b'{"v":1,"id":"n-1"}',
    Kind.CONTROL: b'{"v":1,"telemetry_interval_s":60.0,"log_level":"debug"}',
    Kind.SERVER_STATE: b'{"v":1,"online":true,"sent_at":"2026-03-01T12:00:00Z"}',
}
ACK_COMPRESSED = bytes.fromhex("789cab562a53b232d4514acacf2f51b2524a324f3654d2512a4e2d54b23231ac050080690845")
KINDS = pytest.mark.parametrize("kind", list(MESSAGE_OF), ids=lambda kind: kind.value)


def replace(kind: Kind, **changes: Any) -> Any:
    return msgspec.structs.replace(EXAMPLES[kind], **changes)


LONG = {
    Kind.INFO: replace(Kind.INFO, board="x" * 600),
    Kind.REPORTED: replace(Kind.REPORTED, models={"digits": ReportedModel(detail="x" * 600)}),
    Kind.DEPLOYMENT: replace(Kind.DEPLOYMENT, detail="x" * 600),
    Kind.TELEMETRY: replace(Kind.TELEMETRY, windows=tuple(a_window(seq) for seq in range(20))),
    Kind.EVENT: replace(Kind.EVENT, detail="x" * 600),
    Kind.BENCH: replace(
        Kind.BENCH, result=a_bench_result(processes=tuple(a_bench_process(*[0.2111] * 50) for _ in range(3)))
    ),
    Kind.CHUNK_REQUEST: replace(Kind.CHUNK_REQUEST, chunks=tuple(range(256))),
    Kind.DESIRED: replace(
        Kind.DESIRED,
        models={f"model-{n:02}": DesiredModel(version="1.0.0", deployment=f"d-{n}") for n in range(32)},
    ),
}
"""Messages over the limit above which they are compressed, of every kind that can be that long."""


def test_only_messages_of_fixed_size_are_never_compressed() -> None:
    fixed = {Kind.STATE, Kind.ACK, Kind.BENCH_ACK, Kind.CONTROL, Kind.SERVER_STATE}
    assert set(MESSAGE_OF) - set(LONG) == fixed


def test_every_kind_of_topic_has_a_message_and_an_example() -> None:
    assert set(MESSAGE_OF) == set(Kind) - {Kind.CHUNK} == set(EXAMPLES) == set(PLAIN)
    assert [type(EXAMPLES[kind]) for kind in MESSAGE_OF] == list(MESSAGE_OF.values())


@KINDS
def test_a_short_message_is_these_bytes(kind: Kind) -> None:
    assert encode_message(EXAMPLES[kind]) == PLAIN[kind]


@KINDS
def test_these_bytes_are_the_message(kind: Kind) -> None:
    assert decode_message(MESSAGE_OF[kind], PLAIN[kind]) == EXAMPLES[kind]


@KINDS
@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_these_bytes_compressed_are_the_message(kind: Kind, level: int) -> None:
    assert decode_message(MESSAGE_OF[kind], zlib.compress(PLAIN[kind], level)) == EXAMPLES[kind]


def test_compressed_bytes_from_elsewhere_are_the_message() -> None:
    assert decode_message(MESSAGE_OF[Kind.ACK], ACK_COMPRESSED) == EXAMPLES[Kind.ACK]


@pytest.mark.parametrize("kind", list(LONG), ids=lambda kind: kind.value)
def test_a_long_message_is_compressed_json(kind: Kind) -> None:
    payload = encode_message(LONG[kind])
    assert payload[0] == 0x78
    content = zlib.decompress(payload)
    assert len(content) > COMPRESS_ABOVE_BYTES
    assert content == msgspec.json.encode(msgspec.to_builtins(LONG[kind], str_keys=True))
    assert decode_message(MESSAGE_OF[kind], payload) == LONG[kind]


def test_compression_begins_above_512_bytes() -> None:
    empty = len(encode_message(replace(Kind.EVENT, detail="x"))) - 1
    at_limit = encode_message(replace(Kind.EVENT, detail="x" * (512 - empty)))
    above = encode_message(replace(Kind.EVENT, detail="x" * (513 - empty)))
    assert (len(at_limit), at_limit[:1]) == (512, b"{")
    assert above[:1] == b"\x78"


def test_equal_messages_have_the_same_bytes_whatever_the_order_they_were_filled_in() -> None:
    one, two = ReportedModel(version="1.0.0"), ReportedModel(version="2.0.0")
    forth = Reported(v=1, revision=1, models={"a": one, "b": two})
    back = Reported(v=1, revision=1, models={"b": two, "a": one})
    assert encode_message(forth) == encode_message(back)


@KINDS
def test_v_is_always_written_and_defaults_never(kind: Kind) -> None:
    assert encode_message(EXAMPLES[kind]).startswith(b'{"v":1,')
    assert b"detail" not in encode_message(EXAMPLES[Kind.DEPLOYMENT])


def test_the_first_state_of_a_deployment_is_written_as_null() -> None:
    assert b'"before":null' in encode_message(replace(Kind.DEPLOYMENT, before=None))


def test_heat_and_marks_are_written_only_where_there_is_something_to_tell() -> None:
    heat = HeatReport(level=HeatLevel.EASED, causes=(HeatCause.SOFT_LIMIT,), celsius=81.5, battery_ratio=0.5)
    reported = Reported(v=1, revision=3, models={}, heat=heat)
    content = (
        b'{"v":1,"revision":3,"models":{},"heat":{"level":"eased","causes":["soft-limit"],"celsius":81.5,'
        b'"battery_ratio":0.5}}'
    )
    assert encode_message(reported) == content
    assert decode_message(Reported, content) == reported
    normal = Reported(v=1, revision=3, models={}, heat=HeatReport())
    assert encode_message(normal) == b'{"v":1,"revision":3,"models":{},"heat":{}}'
    assert decode_message(Reported, encode_message(normal)) == normal
    window = msgspec.structs.replace(a_window().window, is_throttled=True)
    marked = replace(Kind.TELEMETRY, windows=(SequencedWindow(seq=1, window=window),))
    assert encode_message(marked) == PLAIN[Kind.TELEMETRY].replace(b"}}]}", b',"is_throttled":true}}]}')
    assert decode_message(type(marked), encode_message(marked)) == marked
