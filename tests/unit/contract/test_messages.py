"""What messages are refused, and that nothing but MessageError ever comes out."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contract.errors import MessageError
from contract.histogram import LatencyHistogram
from contract.messages import (
    COUNT_MAX,
    DESIRED_MAX_BYTES,
    MAX_MODELS,
    MESSAGE_MAX_BYTES,
    MESSAGE_OF,
    Ack,
    Desired,
    DesiredModel,
    DeviceInfo,
    DeviceState,
    Message,
    Telemetry,
    decode_message,
    encode_message,
)
from contract.topics import Kind
from tests.support.contract_builders import AT, EXAMPLES, JSON_VALUES, a_window

TYPES = list(MESSAGE_OF.values())


def spoiled(kind: Kind, place: str, value: Any) -> bytes:
    """The example of a kind as JSON with the value at a dotted place replaced."""
    document = json.loads(encode_message(EXAMPLES[kind]))
    *parents, last = place.split(".")
    at = document
    for parent in parents:
        at = at[int(parent)] if isinstance(at, list) else at[parent]
    at[last] = value
    return json.dumps(document).encode()


@given(st.sampled_from(TYPES), st.binary(max_size=200))
@example(Ack, b"")
@example(Ack, b"\x78")
@example(Ack, b"\x78\x9c")
@example(Ack, b'{"v":1,"boot":"\xed\xa0\x80","seq":1}')
@example(Ack, b'{"v":1,"boot":"\\ud800","seq":1}')
@example(Ack, b'{"v":1,"boot":"b","seq":1e999}')
@example(Ack, b'{"v":1,"boot":"b","seq":NaN}')
@example(Ack, b'{"v":1,"boot":"b","seq":' + b"9" * 5000 + b"}")
@example(Desired, b'{"x":' * 4000)
@example(Ack, b"[" * 100_000)
@example(Ack, b'{"x":' * 100_000)
@example(Ack, zlib.compress(b'{"x":' * 100_000))
def test_arbitrary_bytes_raise_message_error_alone(kind: type[Message], payload: bytes) -> None:
    with pytest.raises(MessageError):
        decode_message(kind, payload)


@given(st.sampled_from(TYPES), JSON_VALUES)
def test_arbitrary_json_raises_message_error_alone(kind: type[Message], value: Any) -> None:
    with pytest.raises(MessageError):
        decode_message(kind, json.dumps(value).encode())


@given(st.sampled_from(list(EXAMPLES)), st.data())
def test_a_spoiled_example_is_the_message_or_message_error(kind: Kind, data: st.DataObject) -> None:
    document = json.loads(encode_message(EXAMPLES[kind]))
    document[data.draw(st.sampled_from(sorted(document)))] = data.draw(JSON_VALUES)
    payload = json.dumps(document).encode()
    try:
        message = decode_message(MESSAGE_OF[kind], payload)
    except MessageError:
        return
    assert decode_message(MESSAGE_OF[kind], encode_message(message)) == message


@given(st.sampled_from(list(EXAMPLES)), st.data())
def test_a_cut_off_message_is_refused_plain_and_compressed(kind: Kind, data: st.DataObject) -> None:
    plain = encode_message(EXAMPLES[kind])
    for payload in (plain, zlib.compress(plain)):
        with pytest.raises(MessageError):
            decode_message(MESSAGE_OF[kind], payload[: data.draw(st.integers(0, len(payload) - 1))])


REFUSED: list[tuple[str, Kind, str, Any]] = [
    ("another wire version", Kind.ACK, "v", 2),
    ("a wire version that is no number", Kind.ACK, "v", "1"),
    ("a boolean for a number", Kind.ACK, "v", True),
    ("a negative count", Kind.ACK, "seq", -1),
    ("a count beyond 53 bits", Kind.ACK, "seq", COUNT_MAX + 1),
    ("a count beyond 64 bits", Kind.ACK, "seq", 2**64),
    ("a count with a fraction", Kind.ACK, "seq", 1.5),
    ("an empty boot", Kind.ACK, "boot", ""),
    ("a boot that climbs", Kind.ACK, "boot", "../../etc"),
    ("a boot with a line break behind", Kind.ACK, "boot", "b7c1\n"),
    ("a boot that is too long", Kind.ACK, "boot", "b" * 65),
    ("a deployment that is a topic filter", Kind.DEPLOYMENT, "deployment", "#"),
    ("a model that is a path", Kind.DEPLOYMENT, "model", "a/b"),
    ("a version that is none", Kind.DEPLOYMENT, "version", "latest"),
    ("a version that is too long", Kind.DEPLOYMENT, "version", "1.0.0-" + "x" * 64),
    ("an unknown state", Kind.DEPLOYMENT, "after", "resting"),
    ("an unknown reason", Kind.DEPLOYMENT, "reason", "bored"),
    ("an unknown kind of event", Kind.EVENT, "kind", "party"),
    ("an unknown log level", Kind.CONTROL, "log_level", "chatty"),
    ("an unknown delegate", Kind.INFO, "capabilities.delegates", ["tpu9"]),
    ("an unknown processor", Kind.INFO, "capabilities.arch", "z80"),
    ("memory beyond 64 bits", Kind.INFO, "capabilities.memory_bytes", 2**64),
    ("a model name in the desired document", Kind.DESIRED, "models", {"../x": {}}),
    ("a rollout that is no identifier", Kind.DESIRED, "models.digits.rollout", "a b"),
    ("a trial of more than a day", Kind.DESIRED, "models.digits.trial_s", 86_401),
    ("a negative trial", Kind.DESIRED, "models.digits.trial_s", -0.5),
    ("a digest that is none", Kind.REPORTED, "models.digits.digest", "5f"),
    ("negative seconds", Kind.DEPLOYMENT, "seconds", -0.1),
    ("more than a century", Kind.DEPLOYMENT, "seconds", 1e300),
    ("a text that is too long", Kind.EVENT, "detail", "x" * 2049),
    ("a time without a zone", Kind.EVENT, "at", "2026-03-01T12:00:00"),
    ("a time that is not UTC", Kind.EVENT, "at", "2026-03-01T12:00:00+02:00"),
    ("a time before the epoch", Kind.STATE, "sent_at", "0001-01-01T00:00:00Z"),
    ("a time that nothing can be added to", Kind.SERVER_STATE, "sent_at", "9999-12-31T23:59:59Z"),
    ("a deployment's time that is not UTC", Kind.DEPLOYMENT, "at", "2026-03-01T12:00:00-01:00"),
    (
        "a window's time that is not UTC",
        Kind.TELEMETRY,
        "windows.0.window.start",
        "2026-03-01T12:00:00+01:00",
    ),
    ("a histogram that does not add up", Kind.TELEMETRY, "windows.0.window.latency.count", 3),
    ("a histogram bucket that does not exist", Kind.TELEMETRY, "windows.0.window.latency.buckets", {"72": 2}),
    ("a window that lasts a negative time", Kind.TELEMETRY, "windows.0.window.duration_s", -1.0),
    ("more chunks than fit a request", Kind.CHUNK_REQUEST, "chunks", list(range(257))),
    ("a telemetry interval of nothing", Kind.CONTROL, "telemetry_interval_s", 0.0),
]


@pytest.mark.parametrize(
    ("kind", "place", "value"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_is_refused(kind: Kind, place: str, value: Any) -> None:
    with pytest.raises(MessageError):
        decode_message(MESSAGE_OF[kind], spoiled(kind, place, value))


@pytest.mark.parametrize("kind", list(EXAMPLES), ids=lambda kind: kind.value)
def test_unknown_fields_are_ignored_and_missing_ones_refused(kind: Kind) -> None:
    assert decode_message(MESSAGE_OF[kind], spoiled(kind, "invented", {"by": ["tomorrow"]})) == EXAMPLES[kind]
    for field in msgspec.structs.fields(MESSAGE_OF[kind]):
        if field.required:
            document = json.loads(encode_message(EXAMPLES[kind]))
            del document[field.name]
            with pytest.raises(MessageError, match=field.name):
                decode_message(MESSAGE_OF[kind], json.dumps(document).encode())


def test_minus_zero_is_zero() -> None:
    message = decode_message(Desired, spoiled(Kind.DESIRED, "models.digits.trial_s", -0.0))
    assert message.models["digits"].trial_s == 0.0


def test_empty_names_of_what_is_not_there_are_accepted() -> None:
    empty = dict.fromkeys(("version", "variant", "digest", "deployment"), "")
    decoded = decode_message(MESSAGE_OF[Kind.REPORTED], spoiled(Kind.REPORTED, "models", {"digits": empty}))
    assert b'"models":{"digits":{}}' in encode_message(decoded)


@pytest.mark.parametrize("order", [(2, 1), (1, 1), (1, 3, 2)])
def test_windows_out_of_order_are_refused(order: tuple[int, ...]) -> None:
    batch = [msgspec.to_builtins(a_window(seq), str_keys=True) for seq in order]
    with pytest.raises(MessageError) as caught:
        decode_message(Telemetry, spoiled(Kind.TELEMETRY, "windows", batch))
    assert caught.value.faults == ("seq does not rise",)


def test_every_fault_of_a_batch_is_named() -> None:
    bad = msgspec.structs.replace(
        a_window().window, start=AT.replace(year=1900), latency=LatencyHistogram(count=1, sum_s=-1.0)
    )
    batch = [msgspec.to_builtins({"seq": 1, "window": bad}, str_keys=True)]
    with pytest.raises(MessageError) as caught:
        decode_message(Telemetry, spoiled(Kind.TELEMETRY, "windows", batch))
    assert len(caught.value.faults) == 3


# Sizes


def test_a_compressed_bomb_costs_no_more_than_the_limit() -> None:
    bomb = zlib.compress(b" " * (64 << 20), 9)
    tracemalloc.start()
    try:
        with pytest.raises(MessageError, match="larger"):
            decode_message(Telemetry, bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MESSAGE_MAX_BYTES


@pytest.mark.parametrize("pack", [bytes, zlib.compress])
def test_a_desired_document_ends_at_eight_kibibytes(pack: Any) -> None:
    document = encode_message(EXAMPLES[Kind.DESIRED])
    fits = document + b" " * (DESIRED_MAX_BYTES - len(document))
    assert decode_message(Desired, pack(fits)) == EXAMPLES[Kind.DESIRED]
    with pytest.raises(MessageError, match="larger"):
        decode_message(Desired, pack(fits + b" "))


@pytest.mark.parametrize("pack", [bytes, zlib.compress])
def test_other_messages_end_at_one_mebibyte(pack: Any) -> None:
    document = encode_message(EXAMPLES[Kind.ACK])
    fits = document + b" " * (MESSAGE_MAX_BYTES - len(document))
    assert decode_message(Ack, pack(fits)) == EXAMPLES[Kind.ACK]
    with pytest.raises(MessageError, match="larger"):
        decode_message(Ack, pack(fits + b" "))


def test_bytes_behind_a_message_are_refused_plain_and_compressed() -> None:
    plain = encode_message(EXAMPLES[Kind.ACK])
    for payload in (plain + b"{}", zlib.compress(plain) + b"\0"):
        with pytest.raises(MessageError):
            decode_message(Ack, payload)


def test_a_damaged_compressed_message_is_refused() -> None:
    payload = bytearray(zlib.compress(encode_message(EXAMPLES[Kind.ACK])))
    payload[-1] ^= 1
    with pytest.raises(MessageError, match="damaged"):
        decode_message(Ack, bytes(payload))


def test_a_compressed_message_that_asks_for_a_dictionary_is_refused() -> None:
    packer = zlib.compressobj(zdict=b"boot seq")
    payload = packer.compress(encode_message(EXAMPLES[Kind.ACK])) + packer.flush()
    with pytest.raises(MessageError, match="damaged"):
        decode_message(Ack, payload)


# What a receiver would refuse is not sent.


def refused_to_send(message: Message) -> None:
    with pytest.raises(MessageError):
        encode_message(message)


def test_a_desired_document_that_no_device_would_read_is_not_sent() -> None:
    model = DesiredModel(version="1.0.0-" + "x" * 58, deployment="d" * 64, rollout="r" * 64)
    crowd = {f"{n:02}" + "m" * 61: model for n in range(MAX_MODELS)}
    refused_to_send(Desired(v=1, revision=1, models=crowd))
    small = {f"m{n}": DesiredModel(version="1.0.0", deployment="d") for n in range(MAX_MODELS + 1)}
    refused_to_send(Desired(v=1, revision=1, models=small))


def test_text_that_is_not_unicode_is_not_sent() -> None:
    refused_to_send(msgspec.structs.replace(EXAMPLES[Kind.EVENT], detail="file \udcff"))


def test_text_for_people_that_is_too_long_is_not_sent() -> None:
    refused_to_send(msgspec.structs.replace(EXAMPLES[Kind.EVENT], detail="x" * 2049))


def test_a_number_that_json_does_not_have_is_not_sent() -> None:
    for bad in (float("nan"), float("inf")):
        refused_to_send(msgspec.structs.replace(EXAMPLES[Kind.DEPLOYMENT], seconds=bad))


def test_a_time_without_zone_or_not_in_utc_is_not_sent() -> None:
    for at in (datetime(2026, 3, 1, 12), datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=1)))):  # noqa: DTZ001 - the case itself
        refused_to_send(msgspec.structs.replace(EXAMPLES[Kind.EVENT], at=at))


# Round trips

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
COUNTS = st.integers(0, COUNT_MAX)
TIMES = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(8999, 12, 31),  # noqa: DTZ001 - hypothesis adds the zone
    timezones=st.just(timezone.utc),
)
STATES = st.builds(
    DeviceState,
    v=st.just(1),
    online=st.booleans(),
    boot=NAMES,
    session=COUNTS,
    agent_version=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64),
    sent_at=TIMES,
)
DESIRED = st.builds(
    Desired,
    v=st.just(1),
    revision=COUNTS,
    models=st.dictionaries(
        st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True),
        st.builds(
            DesiredModel,
            version=st.sampled_from(["1.0.0", "0.0.0-rc.1+b"]),
            deployment=NAMES,
            rollout=NAMES | st.just(""),
            trial_s=st.floats(0, 86_400),
        ),
        max_size=8,
    ),
)


@given(STATES | DESIRED)
def test_what_is_encoded_is_decoded_to_the_same(message: Message) -> None:
    payload = encode_message(message)
    assert decode_message(type(message), payload) == message
    assert encode_message(decode_message(type(message), payload)) == payload


def test_capabilities_of_a_board_travel_whole() -> None:
    message = EXAMPLES[Kind.INFO]
    assert isinstance(message, DeviceInfo)
    assert decode_message(DeviceInfo, encode_message(message)).capabilities == message.capabilities
