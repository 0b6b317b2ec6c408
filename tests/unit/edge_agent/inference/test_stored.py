"""An output that the worker leaves as it is stored, as an application's side of the conversation reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import numpy as np
import pytest

from contract.errors import MessageError
from contract.tensor import DType
from edge_agent.inference import protocol
from edge_agent.inference.area import Area, adopt_area
from edge_agent.inference.dialogue import Dialogue
from edge_agent.inference.feed import Feed
from edge_agent.inference.greeting import with_stored
from edge_agent.inference.notice import Notice
from edge_agent.inference.protocol import Result, ScoredClass, StoredOutput, Welcome
from edge_agent.inference.stored import StoredReader
from tests.support.inference_greetings import a_scripted_welcome

SHAPE = (1, 5)
SCORES = StoredOutput(dtype=DType.UINT8, scale=0.5, zero_point=2, top_k=2, labels=("a", "b", "c"))


def a_greeting(stored: StoredOutput | None) -> bytes:
    given, answered = ("x", (3,), DType.INT8), ("scores", SHAPE, DType.FLOAT32)
    return protocol.encode_welcome(a_scripted_welcome(given, answered, stored))


@contextmanager
def a_dialogue(stored: StoredOutput | None) -> Iterator[tuple[Dialogue, Area, bytes]]:
    """A conversation with memory shared, the worker's view of that, and the words that came with it."""
    dialogue = Dialogue(a_greeting(stored))
    words, descriptor = dialogue.offer(0)
    area = adopt_area(os.dup(descriptor), least_bytes=1, most_bytes=1 << 20)
    os.close(descriptor)
    dialogue.conclude_offer(protocol.encode_attached())
    yield dialogue, area, words


def leave(dialogue: Dialogue, area: Area, values: list[int], dtype: str = "uint8") -> Result:
    """What a worker leaves and says, understood."""
    frame = dialogue.request_of_sinks()
    sequence = protocol.sequence_of_tensors(frame)
    at = dialogue.welcome.outputs[0].offset
    area.put(at, np.array(values, dtype).tobytes())
    answer = dialogue.understand(protocol.encode_result(sequence, 0.25, None, is_draining=False))
    assert isinstance(answer, Result)
    return answer


def test_real_values_and_best_classes_are_made_of_what_lies_there() -> None:
    with a_dialogue(SCORES) as (dialogue, area, words):
        answer = leave(dialogue, area, [2, 3, 250, 0, 250])

        assert protocol.takes_stored(words)
        assert answer.classes == (ScoredClass(2, 124.0, "c"), ScoredClass(4, 124.0, ""))
        assert answer.latency_s == 0.25
        outputs = dialogue.read_outputs()
        assert outputs["scores"].tolist() == [[0.0, 0.5, 124.0, -1.0, 124.0]]
        assert outputs["scores"].dtype == np.float32
        assert dialogue.read_bytes(["scores"]) == [outputs["scores"].tobytes()]


def test_an_answer_stays_what_it_was_whatever_is_left_there_next() -> None:
    with a_dialogue(SCORES) as (dialogue, area, _):
        leave(dialogue, area, [9, 0, 0, 0, 0])
        area.put(dialogue.welcome.outputs[0].offset, bytes(5))

        assert dialogue.read_outputs()["scores"].tolist() == [[3.5, -1.0, -1.0, -1.0, -1.0]]


def test_real_values_may_follow_stored_ones_and_the_other_way_round() -> None:
    with a_dialogue(SCORES) as (dialogue, area, _):
        leave(dialogue, area, [9, 0, 0, 0, 0])
        sequence = protocol.sequence_of_tensors(dialogue.request_of_sinks())
        area.put(dialogue.welcome.outputs[0].offset, np.arange(5, dtype=np.float32).tobytes())
        answer = dialogue.understand(
            protocol.encode_result(sequence, 0.1, [(4, 4.0, b"e")], is_draining=False)
        )

        assert isinstance(answer, Result)
        assert answer.classes == (ScoredClass(4, 4.0, "e"),)
        assert dialogue.read_outputs()["scores"].tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0]]
        assert leave(dialogue, area, [0, 7, 0, 0, 0]).classes[0] == ScoredClass(1, 2.5, "b")


def test_rehearsing_goes_through_the_last_answer_again() -> None:
    with a_dialogue(SCORES) as (dialogue, area, _):
        answer = leave(dialogue, area, [9, 0, 0, 0, 0])

        assert dialogue.last_answer() == answer


def test_the_worker_after_a_switch_is_read_by_its_own_words() -> None:
    later = StoredOutput(dtype=DType.INT8, scale=2.0, zero_point=0, top_k=1, labels=("z",))
    with a_dialogue(SCORES) as (before, area, _):
        leave(before, area, [9, 0, 0, 0, 0])
        after = Dialogue(a_greeting(later))

        assert after.follow(before)
        answer = leave(after, area, [5, -1, 0, 0, 0], "int8")

        assert answer.classes == (ScoredClass(0, 10.0, "z"),)
        assert after.read_outputs()["scores"].tolist() == [[10.0, -2.0, 0.0, 0.0, 0.0]]


def test_a_worker_that_has_not_told_how_to_read_may_not_leave_stored_values() -> None:
    with a_dialogue(None) as (dialogue, area, words):
        assert words == protocol.encode_attach()
        with pytest.raises(MessageError, match="not described"):
            leave(dialogue, area, [1, 2, 3, 4, 5])


@pytest.mark.parametrize(("first", "then"), [(SCORES, None), (None, SCORES)])
def test_a_worker_with_and_one_without_stored_values_share_no_memory(
    first: StoredOutput | None, then: StoredOutput | None
) -> None:
    with a_dialogue(first) as (before, _, _):
        assert not Dialogue(a_greeting(then)).follow(before)


def test_an_answer_posted_to_one_conversation_is_none_to_the_next_in_the_same_memory() -> None:
    with a_dialogue(SCORES) as (before, area, _):
        leave(before, area, [9, 0, 0, 0, 0])
        stored = before.welcome.stored
        assert stored is not None
        words = protocol.encode_result(1, 0.25, None, is_draining=True)
        Notice(area, stored.notice_offset).post(1, words)
        assert before.is_posted()
        assert before.posted() == words
        after = Dialogue(a_greeting(SCORES))
        assert not after.is_posted()

        assert after.follow(before)
        after.request_of_sinks()

        assert not after.is_posted()


def test_a_request_with_tensors_is_posted_before_it_is_sent_and_one_with_an_image_is_not() -> None:
    with a_dialogue(SCORES) as (dialogue, area, _):
        stored = dialogue.welcome.stored
        assert stored is not None
        notice = Notice(area, stored.notice_offset)

        sequence = protocol.sequence_of_tensors(dialogue.request_of_sinks())
        assert notice.take(0) == sequence

        dialogue.request(Feed((), np.zeros((0, 0, 1), np.uint8), 0))
        assert notice.take(sequence) == 0


def test_without_dimensions_there_is_one_value() -> None:
    place = np.zeros((), np.float32)
    place.reshape(-1).view(np.uint8)[0] = 6

    reader = StoredReader(StoredOutput(dtype=DType.UINT8, scale=0.5, zero_point=2, top_k=1, labels=()), place)

    assert reader.read() == (ScoredClass(0, 2.0, ""),)
    assert reader.real().shape == ()
    assert reader.real() == 2.0


def test_a_greeting_without_room_for_the_labels_tells_nothing_of_stored_values() -> None:
    welcome = protocol.parse_welcome(a_greeting(None))
    assert isinstance(welcome, Welcome)
    endless = StoredOutput(dtype=DType.INT8, scale=1.0, zero_point=0, top_k=1, labels=("x" * 70_000,))

    assert with_stored(welcome, endless) == welcome
    described = with_stored(welcome, SCORES)
    assert described.stored == msgspec.structs.replace(SCORES, notice_offset=welcome.tensor_bytes)
    assert described.tensor_bytes == welcome.tensor_bytes + 64
    assert (described.inputs, described.outputs) == (welcome.inputs, welcome.outputs)
