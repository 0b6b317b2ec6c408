"""Applications that ask the same logical questions without end, whatever version answers: both SDKs, and HTTP.

Each is a thread with one connection's worth of client, opened once and never told of a switch.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent import connect, connect_async
from edge_agent.inference.asking import Inference, What
from tests.support.gateway import INFER, WAIT_S

LANES = 2
"""Requests of the asyncio application that are under way at a time."""


class LogicalClient(ABC, threading.Thread):
    """Asks in turns about every digit of ``feeds``; a context manager that raises what went wrong.

    Args:
        feeds: Label that is right, and a word for the kind of question, to what is asked.

    Attributes:
        seen: Right answers by version and kind of question.
        wrong: Version, right label, kind and label answered of each wrong answer.
    """

    def __init__(self, feeds: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(daemon=True)
        self.feeds = dict(feeds)
        self.seen: Counter[tuple[str, str]] = Counter()
        self.wrong: list[tuple[str, str, str, str | None]] = []
        self.error: BaseException | None = None
        self.ends = threading.Event()

    def __enter__(self) -> LogicalClient:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ends.set()
        self.join(WAIT_S)
        assert not self.is_alive(), f"{self} does not end"
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        """Ask."""
        try:
            self.ask_all()
        except BaseException as error:  # noqa: BLE001 - raised again where it ends
            self.error = error

    @abstractmethod
    def ask_all(self) -> None:
        """Ask until ``ends``."""

    def note(self, asked: tuple[str, str], version: str, label: str | None, scores: Any) -> None:
        """Count an answer."""
        right, kind = asked
        if label == right == str(int(np.argmax(scores))):
            self.seen[version, kind] += 1
        else:
            self.wrong.append((version, right, kind, label))

    def note_inference(self, asked: tuple[str, str], answer: Inference) -> None:
        """Count an SDK's answer."""
        self.note(asked, answer.version, answer.label, answer.outputs["probabilities"])

    def has_heard(self, version: str, least: int) -> bool:
        """Whether a version has answered so many questions of each kind; what went wrong ends the wait, too."""
        kinds = {kind for _, kind in self.feeds}
        return self.error is not None or all(self.seen[version, kind] >= least for kind in kinds)


class SyncClient(LogicalClient):
    """Through the synchronous SDK."""

    def __init__(self, feeds: Mapping[tuple[str, str], What], run_dir: Path) -> None:
        super().__init__(feeds)
        self._run_dir = run_dir

    def ask_all(self) -> None:
        """See above."""
        with connect(self._run_dir).model("digits") as model:
            while not self.ends.is_set():
                for asked, what in self.feeds.items():
                    self.note_inference(asked, model.infer(what))


class AsyncClient(SyncClient):
    """Through the SDK for asyncio."""

    def ask_all(self) -> None:
        """See above."""
        asyncio.run(self._ask_all())

    async def _ask_all(self) -> None:
        async with connect_async(self._run_dir) as fleet:
            model = fleet.model("digits")

            async def ask() -> None:
                while not self.ends.is_set():
                    for asked, what in self.feeds.items():
                        self.note_inference(asked, await model.infer(what))

            await asyncio.gather(*(ask() for _ in range(LANES)))


class HttpClient(LogicalClient):
    """Through the gateway, on one connection that stays open.

    Args:
        feeds: Arrays: uint8 ones are sent as ``UINT8``, others as ``FP32``.
        port: Of the gateway.
    """

    def __init__(self, feeds: Mapping[tuple[str, str], Any], port: int) -> None:
        super().__init__(feeds)
        self._port = port

    def ask_all(self) -> None:
        """See above."""
        bodies = {asked: _body(np.asarray(what)) for asked, what in self.feeds.items()}
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=WAIT_S)
        client.connect()
        own = client.sock
        while not self.ends.is_set():
            for asked, body in bodies.items():
                client.request("POST", INFER, body)
                response = client.getresponse()
                answer = json.loads(response.read())
                assert response.status == 200, answer
                (output,) = answer["outputs"]
                self.note(asked, answer["model_version"], answer["parameters"]["label"], output["data"])
        assert client.sock is own, "the connection was lost in between"
        client.close()


def _body(array: np.ndarray[Any, Any]) -> bytes:
    datatype = "UINT8" if array.dtype == np.uint8 else "FP32"
    tensor = {"name": "image", "shape": list(array.shape), "datatype": datatype, "data": array.tolist()}
    return json.dumps({"inputs": [tensor]}).encode()
