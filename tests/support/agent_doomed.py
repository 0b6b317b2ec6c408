"""An agent that kills itself the moment a deployment enters a state.

``python -m tests.support.agent_doomed CONFIG STATE``

All of it is real but one door: the session, which pulls the plug where it would tell the state. The state is on disk
then, and its action has not begun.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from contract.deployment import State
from contract.messages import DeploymentChange
from edge_agent import app
from edge_agent.config import AgentConfig, load_config
from edge_agent.link.session import Session
from edge_agent.service.notify import notifier


class DoomedSession(Session):
    """Dies instead of telling one state."""

    fatal: State

    def send_change(self, change: DeploymentChange) -> None:
        if change.after is self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        super().send_change(change)


class DoomedAgent(app.Agent):
    """An agent with such a session."""

    def _make_session(self, config: AgentConfig, boot: str) -> Session:
        session = super()._make_session(config, boot)
        session.__class__ = DoomedSession
        return session


def main() -> None:
    """Run until the state, or until SIGTERM."""
    config = load_config(Path(sys.argv[1]), {})
    DoomedSession.fatal = State(sys.argv[2])
    ready = f"agent {config.device.id} ready"
    agent = DoomedAgent(config, lambda _: None, notifier())
    agent.run(lambda: print(ready, flush=True))  # noqa: T201 - the test waits for it


if __name__ == "__main__":
    main()
