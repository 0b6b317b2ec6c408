"""Topics: built, parsed and filtered by one object."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contract.errors import ConfigError, ManifestError, MessageError
from contract.identifiers import DeviceId, parse_device_id
from contract.topics import QOS, RETAINED, Kind, ParsedTopic, Topics

TOPICS = Topics()
PI = DeviceId("pi-kitchen")
# The topics as contract.md's table lists them.
EXACT: dict[Kind, tuple[str, tuple[str, ...]]] = {
    Kind.STATE: ("litefleet/v1/pi-kitchen/up/state", ()),
    Kind.INFO: ("litefleet/v1/pi-kitchen/up/info", ()),
    Kind.REPORTED: ("litefleet/v1/pi-kitchen/up/reported", ()),
    Kind.DEPLOYMENT: ("litefleet/v1/pi-kitchen/up/deployment/d-2", ("d-2",)),
    Kind.TELEMETRY: ("litefleet/v1/pi-kitchen/up/telemetry", ()),
    Kind.EVENT: ("litefleet/v1/pi-kitchen/up/event", ()),
    Kind.BENCH: ("litefleet/v1/pi-kitchen/up/bench", ()),
    Kind.CHUNK_REQUEST: ("litefleet/v1/pi-kitchen/up/chunk-request", ()),
    Kind.DESIRED: ("litefleet/v1/pi-kitchen/dn/desired", ()),
    Kind.ACK: ("litefleet/v1/pi-kitchen/dn/ack", ()),
    Kind.BENCH_ACK: ("litefleet/v1/pi-kitchen/dn/bench-ack", ()),
    Kind.CONTROL: ("litefleet/v1/pi-kitchen/dn/control", ()),
    Kind.CHUNK: ("litefleet/v1/pi-kitchen/dn/chunk/t-1/12", ("t-1", "12")),
}

devices = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True).map(parse_device_id)
prefixes = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,7}(/[a-z0-9][a-z0-9_.-]{0,7}){0,4}", fullmatch=True)
words = st.sampled_from(
    ["litefleet", "v1", "_server", "pi", "up", "dn", "state", "chunk", "deployment", "", "+", "#"]
)


def matches(pattern: str, topic: str) -> bool:
    """Whether an MQTT filter lets a topic through (MQTT 3.1.1, clause 4.7)."""
    wanted, found = pattern.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(found) or level not in {"+", found[index]}:
            return False
    return len(wanted) == len(found)


def test_every_kind_but_the_servers_own_has_an_exact_topic() -> None:
    assert set(EXACT) == set(Kind) - {Kind.SERVER_STATE}


@pytest.mark.parametrize("kind", list(EXACT), ids=lambda kind: kind.value)
def test_a_topic_is_built_and_parsed_exactly(kind: Kind) -> None:
    topic, fields = EXACT[kind]
    assert TOPICS.build(kind, PI, *fields) == topic
    assert TOPICS.parse(topic) == ParsedTopic(kind=kind, device=PI, fields=fields)


def test_the_servers_own_topic() -> None:
    assert TOPICS.server_state() == "litefleet/v1/_server/state"
    assert TOPICS.parse("litefleet/v1/_server/state") == ParsedTopic(kind=Kind.SERVER_STATE, device=None)


def test_retained_and_quality_of_service_are_those_of_the_contract() -> None:
    assert {kind.value for kind in RETAINED} == {"up/state", "up/info", "up/reported", "dn/desired", "state"}
    assert set(QOS) == set(Kind)
    assert {kind for kind, qos in QOS.items() if qos == 0} == {Kind.ACK}


@given(prefixes, st.sampled_from(list(EXACT)), devices, st.data())
def test_what_is_built_parses_to_what_it_was_built_from(
    prefix: str, kind: Kind, device: DeviceId, data: st.DataObject
) -> None:
    topics = Topics(prefix)
    fields = {
        Kind.DEPLOYMENT: (data.draw(devices),),
        Kind.CHUNK: (data.draw(devices), str(data.draw(st.integers(0, 999_999_999)))),
    }.get(kind, ())
    topic = topics.build(kind, device, *fields)
    assert topics.parse(topic) == ParsedTopic(kind=kind, device=device, fields=fields)
    assert matches(topics.server_filter(), topic) is kind.value.startswith("up/")
    assert matches(topics.device_filter(device), topic) is kind.value.startswith("dn/")
    other = DeviceId("x" if device != "x" else "y")
    assert not matches(topics.device_filter(other), topic)


@given(st.text() | st.lists(words, max_size=9).map("/".join))
@example("litefleet/v1/_server/up/state")
@example("litefleet/v1/pi/state")
@example("litefleet/v1/pi/dn/chunk/t/٣")
def test_any_topic_is_parsed_back_to_itself_or_raises_message_error_alone(topic: str) -> None:
    try:
        parsed = TOPICS.parse(topic)
    except MessageError:
        return
    if parsed.device is None:
        assert topic == TOPICS.server_state()
    else:
        assert TOPICS.build(parsed.kind, parsed.device, *parsed.fields) == topic


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "litefleet/v1",
        "litefleet/v1/",
        "litefleet/v2/pi/up/state",
        "litefleet/v1/pi",
        "litefleet/v1/pi/up",
        "litefleet/v1/pi/up/",
        "litefleet/v1/pi/up/rumour",
        "litefleet/v1/pi/up/state/",
        "litefleet/v1/pi/up/state/more",
        "litefleet/v1/pi/up/deployment",
        "litefleet/v1/pi/up/deployment/",
        "litefleet/v1/pi/up/deployment/a/b",
        "litefleet/v1/pi/up/deployment/..",
        "litefleet/v1/pi/dn/chunk/t",
        "litefleet/v1/pi/dn/chunk/t/-1",
        "litefleet/v1/pi/dn/chunk/t/01",
        "litefleet/v1/pi/dn/chunk/t/x",
        "litefleet/v1/pi/dn/chunk/t/1234567890",
        "litefleet/v1/pi/state",
        "litefleet/v1/_server/up/state",
        "litefleet/v1/_server/state/x",
        "litefleet/v1/-pi/up/state",
        "litefleet/v1//up/state",
        "litefleet/v1/+/up/state",
        "/litefleet/v1/pi/up/state",
    ],
)
def test_what_is_none_of_our_topics_is_refused(topic: str) -> None:
    with pytest.raises(MessageError):
        TOPICS.parse(topic)


def test_a_refusal_shows_no_more_than_the_beginning_of_a_long_topic() -> None:
    for topic in ("x" * 65_535, "litefleet/v1/" + "x" * 65_000, "litefleet/v1/pi/up/state/" + "x" * 65_000):
        with pytest.raises(MessageError) as caught:
            TOPICS.parse(topic)
        assert len(caught.value.summary()) < 250


def test_no_topic_is_built_from_what_is_no_identifier() -> None:
    for device, fields in (("a/b", ("d",)), ("pi", ("a/b",)), ("pi", ("#",)), ("_server", ("d",))):
        with pytest.raises(ManifestError):
            TOPICS.build(Kind.DEPLOYMENT, DeviceId(device), *fields)
    with pytest.raises(ManifestError, match="chunk number"):
        TOPICS.build(Kind.CHUNK, PI, "t", "1/2")


@pytest.mark.parametrize(
    ("kind", "fields"), [(Kind.SERVER_STATE, ()), (Kind.STATE, ("x",)), (Kind.CHUNK, ("t",))]
)
def test_the_wrong_number_of_fields_is_a_bug(kind: Kind, fields: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="is not built from"):
        TOPICS.build(kind, PI, *fields)


@pytest.mark.parametrize(
    "prefix", ["", "/", "a/", "/a", "a//b", "a/#", "+", "$SYS", "a b", "a/b/c/d/e/f", "a" * 129]
)
def test_a_prefix_that_could_be_mistaken_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigError, match="topic prefix"):
        Topics(prefix)


def test_filters_of_the_server_and_of_a_device() -> None:
    assert TOPICS.server_filter() == "litefleet/v1/+/up/#"
    assert TOPICS.device_filter(PI) == "litefleet/v1/pi-kitchen/dn/#"
