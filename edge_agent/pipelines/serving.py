"""A pipeline or ensemble under its own name in the run folder: applications reach it as they reach a worker.

Guarantees: speaks the workers' protocol, so the SDK, the gateway and the sources work unchanged; when a model behind it
is switched and what it takes, gives or is called changes with that, clients are let go and come back to what is true
now, which fails no request; while a model is missing or does not fit, whoever connects is told why.

Threads: one per name; they share nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
from pathlib import Path

from contract.errors import LitefleetError, StorageError, TransientError
from edge_agent.inference.answering import Answering
from edge_agent.inference.clients import MAX_CLIENTS, Clients, refusal_of
from edge_agent.inference.counts import Counts
from edge_agent.inference.protocol import socket_name
from edge_agent.inference.run_folder import new_socket, point_link
from edge_agent.overload import REPORT_S, Cause
from edge_agent.overload_pipe import Teller
from edge_agent.pipelines.chain import Chain
from edge_agent.pipelines.ensemble import Ensemble
from edge_agent.pipelines.members import Members
from edge_agent.pipelines.settings import EnsembleSettings, PipelineSettings

LOOK_S = 0.25
"""How often it is looked whether a model was switched while nobody asks."""

_LOG = logging.getLogger(__name__)


class Service:
    """One pipeline or ensemble.

    Args:
        settings: Of it.
        run_dir: Run folder of the agent.
    """

    def __init__(self, settings: PipelineSettings | EnsembleSettings, run_dir: Path) -> None:
        self._settings = settings
        self._run_dir = run_dir
        if isinstance(settings, PipelineSettings):
            names = [stage.model for stage in settings.stages]
            self._least = len(set(names))
        else:
            names, self._least = list(settings.models), settings.least
        self._members = Members(settings.name, run_dir, dict.fromkeys(names), settings.deadline_s)
        self._links: tuple[str, ...] | None = None
        self._answering: Answering | None = None
        self._clients: Clients | None = None
        self._trouble: LitefleetError | None = None
        self._listener: socket.socket | None = None
        self._socket_path: Path | None = None
        self._poll = select.epoll()
        self._counts = Counts()

    @property
    def name(self) -> str:
        """What applications call it."""
        return self._settings.name

    @property
    def refused(self) -> int:
        """How many attempts to connect it has refused. Any thread."""
        return self._counts.refused

    def run(self, should_stop: threading.Event) -> None:
        """Serve until told to stop.

        Raises:
            StorageError: The run folder cannot be written.
        """
        try:
            self._look()
            while not should_stop.is_set():
                events, listener = self._poll.poll(LOOK_S), self._listener
                self._look()
                if listener is self._listener:  # else their connections are closed now
                    for descriptor, _ in events:
                        self._serve(descriptor)
        finally:
            (self._run_dir / socket_name(self._settings.name)).unlink(missing_ok=True)
            self._close()
            self._members.close()
            self._poll.close()

    def _serve(self, descriptor: int) -> None:
        listener = self._listener
        is_new = listener is not None and descriptor == listener.fileno()
        if self._clients is not None and is_new:
            self._clients.accept()
        elif self._clients is not None:
            self._clients.serve(descriptor)
        elif listener is not None and self._trouble is not None:
            _refuse(listener, self._trouble)

    def _look(self) -> None:
        """Follow the models: nothing while the same workers serve them."""
        links = self._members.links()
        if links == self._links and not isinstance(self._trouble, TransientError):
            return
        self._links = links
        try:
            welcomes = self._members.announce(links, self._least)
            answering: Answering
            if isinstance(self._settings, PipelineSettings):
                answering = Chain(self._settings, self._members, welcomes)
            else:
                answering = Ensemble(self._settings, self._members, welcomes)
        except LitefleetError as error:
            self._stop_answering(error)
            return
        if self._trouble is not None:
            _LOG.info("%s answers again", self._settings.name)
            self._trouble = None
        self._answer_with(answering)

    def _answer_with(self, answering: Answering) -> None:
        before, self._answering = self._answering, answering
        if before is not None and before.welcome == answering.welcome and self._clients is not None:
            self._clients.replace(answering)
            return
        listener = self._listen()
        self._clients = Clients(answering, listener, self._poll, self._counts)

    def _stop_answering(self, trouble: LitefleetError) -> None:
        if self._trouble is None or trouble.summary() != self._trouble.summary():
            _LOG.warning("%s does not answer: %s", self._settings.name, trouble.summary())
        is_listening = self._listener is not None and self._clients is None
        self._answering, self._trouble = None, trouble
        if not is_listening:
            listener = self._listen()
            listener.setblocking(False)
            self._poll.register(listener, select.EPOLLIN)

    def _listen(self) -> socket.socket:
        """Listen at a new socket, and let the name lead to it; those connected to the old one come back.

        Raises:
            StorageError: The run folder cannot be written.
        """
        path = new_socket(self._run_dir)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            listener.bind(os.fspath(path))
            path.chmod(0o660)
            listener.listen(MAX_CLIENTS)
            point_link(self._run_dir, self._settings.name, path.name)
        except OSError as error:
            listener.close()
            raise StorageError(f"{self._settings.name} cannot listen at {path}: {error}") from error
        self._close()
        self._listener, self._socket_path = listener, path
        return listener

    def _close(self) -> None:
        """Let everybody go who is connected."""
        if self._clients is not None:
            self._clients.close()  # with its listener
        elif self._listener is not None:
            self._listener.close()
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)
        self._clients = self._listener = self._socket_path = None


def _refuse(listener: socket.socket, why: LitefleetError) -> None:
    """Tell one who connects why nobody answers."""
    try:
        connection, _ = listener.accept()
    except OSError:
        return  # it left again
    with connection, contextlib.suppress(OSError):
        connection.setblocking(False)
        connection.send(refusal_of(why))


def serve(
    settings: list[PipelineSettings | EnsembleSettings],
    run_dir: Path,
    should_stop: threading.Event,
    teller: Teller,
) -> None:
    """Serve all until told to stop, or until one of them cannot go on.

    Args:
        settings: Of each.
        run_dir: Run folder of the agent.
        should_stop: Set by whoever wants the end, and by whatever could not go on.
        teller: Told what was refused.

    Raises:
        StorageError: The run folder cannot be written.
    """
    failures: list[BaseException] = []

    def run(service: Service) -> None:
        try:
            service.run(should_stop)
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            failures.append(error)
            should_stop.set()

    services = [Service(each, run_dir) for each in settings]
    threads = [
        threading.Thread(target=run, args=(service,), name=f"litefleet-{service.name}", daemon=True)
        for service in services
    ]
    for thread in threads:
        thread.start()
    while not should_stop.wait(REPORT_S):
        teller.tell({each.name: {Cause.CLIENTS: each.refused} for each in services if each.refused})
    for thread in threads:
        thread.join(_END_S)
    if failures:
        raise failures[0]


_END_S = 2.0
"""A thread in the middle of a request is left behind; the process ends anyway."""
