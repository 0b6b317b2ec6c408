"""What the agent and its fetching process say to each other, byte for byte."""

from __future__ import annotations

import msgspec
import pytest

from contract.errors import DigestError, MessageError, RejectedError
from edge_agent.update.fetch_protocol import (
    Fetched,
    FetchJob,
    Progress,
    Refused,
    error_of,
    parse_job,
    parse_line,
    refusal_of,
    serialize_job,
    serialize_line,
)
from tests.support.builders import some_capabilities

JOB = FetchJob(
    server_url="http://127.0.0.1:8080",
    root_path="/etc/litefleet/root.json",
    trust_dir="/var/lib/litefleet/trust",
    model="digits",
    version="1.0.0",
    profile="generic-x86-64",
    capabilities=some_capabilities(),
    slot_dir="/var/lib/litefleet/models/digits/b",
    reuse=("/var/lib/litefleet/models/digits/a/artifacts",),
    parts_dir="/var/lib/litefleet/parts",
    time_floor_s=1_795_000_000.0,
)

LINES = [
    (Progress(bytes_done=1, bytes_total=2), b'{"line":"progress","bytes_done":1,"bytes_total":2}\n'),
    (
        Fetched(manifest_sha256="ab", variant="int8", bytes_total=2, bytes_downloaded=1),
        b'{"line":"fetched","manifest_sha256":"ab","variant":"int8","bytes_total":2,"bytes_downloaded":1,"ok":true}\n',
    ),
    (
        Refused(code="digest", message="wrong", faults=("a",), remedy="b"),
        b'{"line":"refused","code":"digest","message":"wrong","faults":["a"],"remedy":"b","ok":false}\n',
    ),
]


def test_a_job_is_one_line_and_arrives_whole() -> None:
    line = serialize_job(JOB)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert parse_job(line) == JOB


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"server_url": 1}', b"\xff"])
def test_what_is_no_job_is_refused(line: bytes) -> None:
    with pytest.raises(MessageError, match="not a fetch job"):
        parse_job(line)


@pytest.mark.parametrize("seconds", [-1.0, 1e18])
def test_a_time_that_cannot_be_is_refused(seconds: float) -> None:
    with pytest.raises(MessageError, match="time_floor_s"):
        parse_job(serialize_job(msgspec.structs.replace(JOB, time_floor_s=seconds)))


@pytest.mark.parametrize(("line", "content"), LINES)
def test_a_line_has_exactly_these_bytes_both_ways(line: Progress | Fetched | Refused, content: bytes) -> None:
    assert serialize_line(line) == content
    assert parse_line(content) == line


@pytest.mark.parametrize("content", [b"", b"Traceback", b"{}", b'{"line":"other"}', b'{"line":"progress"}'])
def test_what_is_no_line_is_refused(content: bytes) -> None:
    with pytest.raises(MessageError, match="not an answer"):
        parse_line(content)


def test_an_error_comes_back_as_what_it_was() -> None:
    error = error_of(refusal_of(DigestError("wrong", faults=["a", "b"], remedy="again")))
    assert type(error) is DigestError
    assert (str(error), error.faults, error.remedy) == ("wrong", ("a", "b"), "again")


def test_an_unknown_code_is_a_refusal_that_is_not_retried() -> None:
    assert type(error_of(Refused(code="from-the-future", message="x"))) is RejectedError
