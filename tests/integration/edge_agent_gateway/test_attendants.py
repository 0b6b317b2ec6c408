"""Attendants: they answer what was asked before, and give back everything else with nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from edge_agent.gateway.attendants import MAX_ATTENDANTS, STAY_S, Back
from edge_agent.gateway.service import Service
from edge_agent.gateway.wire import Request
from edge_agent.inference.pool import Pool, WorkerSpec
from tests.support.gateway_service import a_pair_slot, a_request, in_service, of_digit, statistics
from tests.support.gateway_visitor import HEAD, Visitor, attended, whole, with_visitor, with_worker
from tests.support.inference_slots import START_S, a_slot, serve, spec_of, wait_until
from tests.support.own_process import opened


def pid_of(pool: Pool) -> int:
    handle = pool.active("digits")
    assert handle is not None
    return handle.pid


def test_what_was_asked_before_is_answered_and_counted_and_a_silent_client_comes_back(
    shared_pool: tuple[Path, Pool],
) -> None:
    async def talk(service: Service, visitor: Visitor) -> None:
        for digit in range(10):
            assert await visitor.ask(digit) == str(digit)
        assert await visitor.back() == Back(b"", 10)
        assert not os.get_blocking(visitor.theirs.fileno())
        assert await statistics(service) == (11, 0)

    in_service(shared_pool[0], with_visitor(talk))


def test_a_request_may_come_in_pieces(shared_pool: tuple[Path, Pool]) -> None:
    async def talk(service: Service, visitor: Visitor) -> None:
        content = whole(of_digit(7))
        for cut in (1, len(HEAD) - 1, len(HEAD), len(HEAD) + 5, len(content) - 256, len(content) - 1):
            await visitor.say(content[:cut], content[cut:])
            status, answer = await visitor.hear()
            assert (status, b'"label":"7"' in answer) == (200, True)
        for at_once in (content + content, content + content[:70]):
            await visitor.say(at_once)
            assert (await visitor.hear())[0] == 200
        assert (await visitor.hear())[0] == 200
        assert await visitor.back() == Back(content[:70], 9)

    in_service(shared_pool[0], with_visitor(talk))


def test_several_tensors_get_where_they_belong_in_whatever_order_they_come(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    def asked(*values: float) -> Request:
        sizes = {"b": 3, "a": 2}
        given = [
            {"name": name, "shape": [size], "datatype": "FP32", "parameters": {"binary_data_size": 4 * size}}
            for name, size in sizes.items()
        ]
        text = json.dumps({"inputs": given, "parameters": {"binary_data_output": True}}).encode()
        content = text + np.array(values, np.float32).tobytes()
        return Request("POST", "/v2/models/pair/infer", memoryview(content), len(text))

    async def talk(service: Service, visitor: Visitor) -> None:
        for first in (1.0, 10.0):
            b, a = np.arange(first, first + 3), np.arange(first + 3, first + 5)
            await visitor.say(whole(asked(*b, *a)))
            status, content = await visitor.hear()
            assert status == 200
            assert np.frombuffer(content[-20:], np.float32).tolist() == [*a, *b]
        content = whole(asked(*b, *a))
        await visitor.say(content[:-1])
        assert await visitor.back() == Back(content[:-1], 2)

    pair = WorkerSpec("pair", "1.0.0", a_pair_slot(tmp_path / "pair"), 1)
    pool.activate(pool.start_candidate(pair, START_S))
    in_service(run_dir, with_visitor(talk, asked(0, 0, 0, 0, 0)))


@pytest.mark.parametrize(
    "content",
    [
        b"GET /v2/health/live HTTP/1.1\r\n\r\n",
        b"P",
        HEAD[:-1],
        HEAD[:-1] + b"\r",
        HEAD,
        HEAD + b"{",
        whole(of_digit(2, timeout=1_000_000)),
        whole(of_digit(2))[:-1],
    ],
)
def test_whatever_else_comes_goes_back_with_every_byte(
    shared_pool: tuple[Path, Pool], content: bytes
) -> None:
    async def talk(service: Service, visitor: Visitor) -> None:
        assert await visitor.ask(4) == "4"
        await visitor.say(content)
        back = await visitor.back()
        rest = visitor.lend()
        rest.setblocking(False)
        with rest, contextlib.suppress(BlockingIOError):
            back = back._replace(content=back.content + rest.recv(1 << 16))
        assert back == Back(content, 1)

    in_service(shared_pool[0], with_visitor(talk))


def test_another_request_need_not_wait_until_the_attendant_tires(shared_pool: tuple[Path, Pool]) -> None:
    async def talk(service: Service, visitor: Visitor) -> None:
        async with attended(service) as silent:
            assert (await visitor.ask(4), await silent.ask(5)) == ("4", "5")
            other = b"GET /v2/health/live HTTP/1.1\r\n\r\n"
            await visitor.say(other)
            assert await visitor.back() == Back(other, 1)
            assert not silent.came_back.done()

    in_service(shared_pool[0], with_visitor(talk))


def test_other_words_after_the_same_head_go_back(shared_pool: tuple[Path, Pool]) -> None:
    async def talk(service: Service, visitor: Visitor) -> None:
        content = whole(of_digit(2)).replace(b"shape", b"Shape")
        await visitor.say(HEAD)
        await asyncio.to_thread(wait_until, visitor.is_taken, "the head")
        await visitor.say(content[len(HEAD) :])
        assert await visitor.back() == Back(content, 0)

    in_service(shared_pool[0], with_visitor(talk))


def test_a_head_that_trickles_in_has_no_more_time_than_one_that_comes_at_once(
    shared_pool: tuple[Path, Pool],
) -> None:
    async def talk(service: Service, visitor: Visitor) -> None:
        said = 0
        while not visitor.came_back.done():
            await visitor.say(HEAD[said : said + 1])
            said += 1
            await asyncio.sleep(STAY_S / 10)
        assert said < len(HEAD) / 2
        back = await visitor.back()
        assert HEAD[:said].startswith(back.content)
        assert back.content

    in_service(shared_pool[0], with_visitor(talk))


@pytest.mark.parametrize("parts", [(), (b"POST",), (HEAD,), (whole(of_digit(3))[:-9],)])
def test_a_client_that_leaves_comes_back_at_once(
    shared_pool: tuple[Path, Pool], parts: tuple[bytes, ...]
) -> None:
    async def talk(service: Service, visitor: Visitor) -> None:
        await visitor.say(*parts)
        visitor.ours.shutdown(socket.SHUT_WR)
        assert await visitor.back() == Back(b"".join(parts), 0)

    in_service(shared_pool[0], with_visitor(talk))


def test_an_answer_that_nobody_takes_ends_the_client(shared_pool: tuple[Path, Pool]) -> None:
    async def talk(service: Service, visitor: Visitor) -> None:
        assert await visitor.ask(1) == "1"
        os.kill(worker, signal.SIGSTOP)
        try:
            await visitor.say(whole(of_digit(3)))
            await with_worker()
            visitor.ours.shutdown(socket.SHUT_RDWR)
        finally:
            os.kill(worker, signal.SIGCONT)
        assert await visitor.back() == Back(b"", 1, is_broken=True)

    worker = pid_of(shared_pool[1])
    in_service(shared_pool[0], with_visitor(talk))


def test_what_the_worker_refuses_is_told_and_counted_and_the_next_is_answered(
    shared_pool: tuple[Path, Pool],
) -> None:
    async def talk(service: Service, visitor: Visitor) -> None:
        await visitor.say(whole(a_request(np.full(64, np.nan, np.float32).tobytes())))
        status, content = await visitor.hear()
        assert (status, b"not finite" in content) == (400, True)
        assert await visitor.ask(5) == "5"
        assert await statistics(service) == (2, 1)

    in_service(shared_pool[0], with_visitor(talk))


def test_who_waits_for_a_turn_gets_the_attendants(shared_pool: tuple[Path, Pool]) -> None:
    async def talk(service: Service, visitor: Visitor) -> None:
        assert await visitor.ask(1) == "1"
        os.kill(worker, signal.SIGSTOP)
        try:
            await visitor.say(whole(of_digit(6)) + whole(of_digit(7)))
            await with_worker()
            waiting = [asyncio.create_task(service.answer(of_digit(3))) for _ in range(500)]
            await asyncio.sleep(0)  # all have asked for a turn, three got one
        finally:
            os.kill(worker, signal.SIGCONT)
        assert await visitor.back() == Back(b"", 2)
        assert (await visitor.hear())[0] == 200
        assert [(await each).status for each in waiting] == [200] * 500

    worker = pid_of(shared_pool[1])
    in_service(shared_pool[0], with_visitor(talk), max_concurrent=510)


def test_one_turn_is_left_to_others_and_every_turn_is_given_back(shared_pool: tuple[Path, Pool]) -> None:
    class Poor(Visitor):
        """No descriptor is left for it."""

        def lend(self) -> socket.socket:
            raise OSError(errno.EMFILE, "too many open files")

    async def talk(service: Service) -> None:
        for digit in range(MAX_ATTENDANTS + 1):
            async with attended(service) as visitor:
                with contextlib.closing(Visitor()) as another:
                    assert not service.attend(of_digit(1), HEAD, another)
                assert await visitor.ask(digit) == str(digit)
                visitor.ours.shutdown(socket.SHUT_WR)
                assert await visitor.back() == Back(b"", 1)
            with contextlib.closing(Poor()) as poor:
                assert not service.attend(of_digit(1), HEAD, poor)

    in_service(shared_pool[0], talk, max_concurrent=2)


def test_there_are_only_so_many_over_all_models(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    async def talk(service: Service) -> None:
        requests = [of_digit(1), of_digit(1, target="/v2/models/more/infer")]
        async with contextlib.AsyncExitStack() as stack:
            lent: list[bool] = []
            for request in requests:
                assert (await service.answer(request)).status == 200
                for _ in range(4):
                    visitor = Visitor()
                    stack.callback(visitor.close)
                    lent.append(service.attend(request, HEAD, visitor))
            assert lent == [True, True, True, False, True, False, False, False]
            assert sum(lent) == MAX_ATTENDANTS
            assert threads() - before == MAX_ATTENDANTS
        service.end()
        await asyncio.to_thread(wait_until, lambda: threads() == before, "the attendants' end")

    def threads() -> int:
        return sum(thread.name == "attendant" for thread in threading.enumerate())

    serve(pool)
    pool.activate(
        pool.start_candidate(WorkerSpec("more", "1.0.0", a_slot(tmp_path / "more", model="more"), 1), START_S)
    )
    before = threads()
    in_service(run_dir, talk)


def test_at_the_end_clients_come_back_after_their_answer(shared_pool: tuple[Path, Pool]) -> None:
    async def talk(service: Service, visitor: Visitor) -> None:
        assert await visitor.ask(1) == "1"
        os.kill(worker, signal.SIGSTOP)
        try:
            await visitor.say(whole(of_digit(6)))
            await with_worker()
            service.end()
        finally:
            os.kill(worker, signal.SIGCONT)
        assert await visitor.back() == Back(b"", 2)
        answer = await asyncio.to_thread(visitor.ours.recv, 65536)
        assert b"\r\nConnection: close\r\n" in answer
        assert not service.attend(of_digit(1), HEAD, visitor)

    worker = pid_of(shared_pool[1])
    in_service(shared_pool[0], with_visitor(talk))


def test_another_version_and_a_dead_worker_send_the_request_back(pool: Pool, run_dir: Path) -> None:
    async def talk(service: Service) -> None:
        request = of_digit(3)
        candidate = await asyncio.to_thread(pool.start_candidate, spec_of("1.1.0"), START_S)
        async with attended(service) as visitor:
            assert await visitor.ask(2) == "2"
            await asyncio.to_thread(pool.activate, candidate)
            await visitor.say(whole(request))
            assert await visitor.back() == Back(whole(request), 1)
        async with attended(service) as visitor:
            worker = pid_of(pool)
            assert await visitor.ask(2) == "2"
            os.kill(worker, signal.SIGSTOP)
            await visitor.say(whole(request))
            await with_worker()
            os.kill(worker, signal.SIGKILL)
            back = await visitor.back()
            assert (back.content, back.served) == (whole(request), 1)
            assert back.death is not None
            again = await service.ask_again(request, *back.death)
            assert (again.status, b'"label":"3"' in again.body[0]) == (200, True)

    serve(pool)
    in_service(run_dir, talk, deadline_s=20.0)


def test_a_worker_that_hangs_costs_its_deadline_and_its_connection(pool: Pool, run_dir: Path) -> None:
    soon = of_digit(1, timeout=100_000)

    async def talk(service: Service, visitor: Visitor) -> None:
        assert await visitor.ask(1, timeout=100_000) == "1"
        os.kill(worker, signal.SIGSTOP)
        await visitor.say(whole(soon) + whole(soon))
        status, content = await visitor.hear()
        os.kill(worker, signal.SIGCONT)
        assert (status, b"within 0.1 s" in content) == (504, True)
        assert await visitor.back() == Back(b"", 2)
        async with attended(service) as other:
            assert await other.ask(9) == "9"
        assert (await statistics(service))[1] == 1

    worker = serve(pool).pid
    in_service(run_dir, with_visitor(talk, soon))


def test_one_connection_is_kept_for_the_next_client_until_another_version_is_active(
    pool: Pool, run_dir: Path
) -> None:
    async def talk(service: Service) -> None:
        async with attended(service) as first, attended(service) as second:
            assert (await first.ask(1), await second.ask(2)) == ("1", "2")
            assert (await first.back(), await second.back()) == (Back(b"", 1), Back(b"", 1))
        rested = memories() - before
        assert (
            rested == 2 + 1
        )  # a mapping has a descriptor of its own; the event loop's connection has only that
        async with attended(service) as third:
            assert await third.ask(3) == "3"
            assert memories() - before == rested
            await third.back()
        service.sweep()
        assert memories() - before == rested
        await asyncio.to_thread(serve, pool, "1.1.0")
        service.sweep()
        assert memories() - before <= 1

    def memories() -> int:
        return sum("litefleet-area" in path for path in opened())

    serve(pool)
    before = memories()
    in_service(run_dir, talk)


def test_a_stay_is_shorter_than_the_end_of_a_gateway() -> None:
    assert STAY_S < 2.0
