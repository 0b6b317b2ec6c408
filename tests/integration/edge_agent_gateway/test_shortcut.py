"""The short way of a request asked before: taken where nothing is new, and whoever ends, nothing is lost."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import signal
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.gateway.responses import Response
from edge_agent.gateway.service import Service
from edge_agent.gateway.wire import Request
from edge_agent.inference import protocol
from edge_agent.inference.pool import Pool
from tests.support.gateway import a_gateway
from tests.support.gateway_service import (
    BEGIN,
    TARGET,
    a_request,
    an_answer,
    in_service,
    label_of,
    of_digit,
    scripted_workers,
    statistics,
)
from tests.support.inference_slots import serve, wait_until

WAIT_S = 20.0


class Asker:
    """A client in the gateway's own process."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.is_on_long_way = False
        self._task: asyncio.Task[None] | None = None

    def respond(self, response: Response, after: Callable[[], None] | None = None) -> None:
        if after is not None:
            after()
        self.answered.set_result(response)

    def work(self, answer: Coroutine[Any, Any, Response]) -> None:
        self.is_on_long_way = True
        self._task = asyncio.create_task(self._work(answer))

    async def _work(self, answer: Coroutine[Any, Any, Response]) -> None:
        self.answered.set_result(await answer)


async def on_short_way(service: Service, request: Request) -> Response:
    asker = Asker()
    assert service.begin(request, asker)
    response = await asyncio.wait_for(asker.answered, WAIT_S)
    assert not asker.is_on_long_way
    return response


def test_the_same_words_get_the_same_answer_at_once(shared_pool: tuple[Path, Pool]) -> None:
    def but_time(response: Response) -> bytes:
        return re.sub(rb'"latency_ms":[0-9.]+', b"", b"".join(response.body))

    async def talk(service: Service) -> None:
        assert not service.begin(of_digit(1), Asker())  # nothing is known yet
        long = [await service.answer(of_digit(digit)) for digit in range(10)]
        for digit in range(10):
            short = await on_short_way(service, of_digit(digit))
            assert label_of(short) == str(digit)
            assert (short.status, but_time(short)) == (200, but_time(long[digit]))
        assert await statistics(service) == (20, 0)

    in_service(shared_pool[0], talk)


def test_whatever_is_new_goes_the_long_way(shared_pool: tuple[Path, Pool]) -> None:
    async def talk(service: Service) -> None:
        known = of_digit(1)
        await service.answer(known)
        for other in (
            known._replace(method="PUT"),
            known._replace(target=TARGET + "?x"),
            known._replace(body=known.body[:-1]),
            known._replace(body=memoryview(bytes(known.body) + b"0")),
            known._replace(inference_header_bytes=None),
            known._replace(inference_header_bytes=len(known.body) + 1),
            of_digit(1, timeout=5_000_000),
        ):
            assert not service.begin(other, Asker())
        assert label_of(await on_short_way(service, known)) == "1"

    in_service(shared_pool[0], talk)


def test_what_the_worker_refuses_is_told_and_counted(shared_pool: tuple[Path, Pool]) -> None:
    async def talk(service: Service) -> None:
        await service.answer(of_digit(1))
        refused = await on_short_way(service, a_request(np.full(64, np.nan, np.float32).tobytes()))
        assert (refused.status, b"not finite" in refused.body[0]) == (400, True)
        assert label_of(await on_short_way(service, of_digit(2))) == "2"
        assert await statistics(service) == (2, 1)

    in_service(shared_pool[0], talk)


def test_no_turn_is_taken_that_is_not_free(shared_pool: tuple[Path, Pool]) -> None:
    async def talk(service: Service) -> None:
        await service.answer(of_digit(1))
        first = Asker()
        assert service.begin(of_digit(2), first)
        assert not service.begin(of_digit(3), Asker())
        assert (await service.answer(of_digit(3))).status == 503
        assert label_of(await first.answered) == "2"
        assert label_of(await on_short_way(service, of_digit(5))) == "5"

    in_service(shared_pool[0], talk, max_concurrent=1)


def test_another_version_is_asked_as_soon_as_it_is_active(pool: Pool, run_dir: Path) -> None:
    async def talk(service: Service) -> None:
        for version in ("1.0.0", "1.1.0", "1.0.0"):
            await asyncio.to_thread(serve, pool, version)
            assert not service.begin(of_digit(3), Asker())
            for response in (await service.answer(of_digit(3)), await on_short_way(service, of_digit(3))):
                assert (label_of(response), f'"{version}"'.encode() in response.body[0]) == ("3", True)

    in_service(run_dir, talk)


def test_a_worker_that_is_killed_fails_no_request_and_one_that_hangs_costs_its_deadline(
    pool: Pool, run_dir: Path
) -> None:
    def pid() -> int:
        handle = pool.active("digits")
        assert handle is not None
        return handle.pid

    async def talk(service: Service) -> None:
        await service.answer(of_digit(1))
        os.kill(pid(), signal.SIGSTOP)
        asker = Asker()
        assert service.begin(of_digit(6), asker)
        os.kill(pid(), signal.SIGKILL)
        assert label_of(await asyncio.wait_for(asker.answered, WAIT_S)) == "6"
        assert asker.is_on_long_way

        soon = {"timeout": 100_000}
        await service.answer(of_digit(1, **soon))
        os.kill(pid(), signal.SIGSTOP)
        late = await on_short_way(service, of_digit(2, **soon))
        assert (late.status, b"in time" in late.body[0]) == (504, True)
        os.kill(pid(), signal.SIGCONT)
        assert label_of(await service.answer(of_digit(7))) == "7"
        assert label_of(await on_short_way(service, of_digit(8))) == "8"
        assert await statistics(service) == (5, 1)

    serve(pool)
    in_service(run_dir, talk, deadline_s=WAIT_S)


ONE = a_request(bytes(4), shape=(1,))


def test_a_request_that_ends_every_worker_is_not_sent_more_often_on_its_short_way(run_dir: Path) -> None:
    async def talk(service: Service) -> None:
        assert (await service.answer(ONE)).status == 200
        asker = Asker()
        assert service.begin(ONE, asker)
        given_up = await asyncio.wait_for(asker.answered, WAIT_S)
        assert (given_up.status, b"ended 3 times" in given_up.body[0]) == (500, True)

    with scripted_workers(run_dir, BEGIN, BEGIN[:2]) as came:
        in_service(run_dir, talk, max_concurrent=1)
    assert len(came) == 3  # the first one's death counts


@pytest.mark.parametrize(
    ("second", "status", "error"),
    [
        (an_answer(77), 500, b"request 77"),
        (b"hello", 500, b"cannot be read"),
        (protocol.encode_failure(protocol.Failure(code="input", message="no", sequence=2)), 400, b"no"),
        (an_answer(2, is_draining=True), 200, b""),
    ],
)
def test_a_strange_answer_is_an_error_and_a_draining_worker_is_left(
    run_dir: Path, second: bytes, status: int, error: bytes
) -> None:
    async def talk(service: Service) -> None:
        await service.answer(ONE)
        answer = await on_short_way(service, ONE)
        assert (answer.status, error in answer.body[0]) == (status, True)
        if status != 400:  # the connection is closed
            assert not service.begin(ONE, Asker())
        assert (await service.answer(ONE)).status == 200  # and its turn was given back

    first = (*BEGIN, second, an_answer(3)) if status == 400 else (*BEGIN, second)
    with scripted_workers(run_dir, first, BEGIN):
        in_service(run_dir, talk, max_concurrent=1)


def test_a_worker_that_left_unnoticed_is_found_out_by_sending(run_dir: Path) -> None:
    async def talk(service: Service) -> None:
        await service.answer(ONE)
        assert has_left.wait(WAIT_S)  # this thread's event loop does not see it meanwhile
        assert not service.begin(ONE, Asker())
        assert (await service.answer(ONE)).status == 200  # and its turn was given back

    has_left = threading.Event()
    with scripted_workers(run_dir, BEGIN, BEGIN, has_left=has_left):
        in_service(run_dir, talk, max_concurrent=1)


def test_clients_that_leave_in_the_middle_leave_nothing_behind(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    handle = pool.active("digits")
    assert handle is not None
    request = of_digit(4)
    head = f"POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(request.body)}\r\n"
    head += f"Inference-Header-Content-Length: {request.inference_header_bytes}\r\n\r\n"
    content = head.encode() + request.body
    with a_gateway(run_dir, max_concurrent=1) as running, running.connect() as staying:

        def is_answered() -> bool:
            staying.sendall(content)
            response = http.client.HTTPResponse(staying)
            response.begin()
            response.read()
            return response.status == 200

        assert is_answered()
        for _ in range(3):
            os.kill(handle.pid, signal.SIGSTOP)
            with running.connect() as leaving:
                leaving.sendall(content)
                assert running.ask("GET", "/v2/health/live")[0] == 200
            os.kill(handle.pid, signal.SIGCONT)
            wait_until(is_answered, "an answer")
        assert "Traceback" not in running.log.read_text()
