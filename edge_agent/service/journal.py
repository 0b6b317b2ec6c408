"""Log lines as the journal wants them: each with its priority in front (sd-daemon(3), ``SD_WARNING`` and the others).

Guarantees: only where standard error really is the journal, which ``JOURNAL_STREAM`` tells by device and inode
(systemd.exec(5)): a log that is redirected to a file stays as it is for a terminal.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""From which level on which syslog priority; below, 7 (debug)."""


class JournalFormatter(logging.Formatter):
    """No time, no level as words: the journal knows both. Every line of a record has its priority."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        prefix = f"<{priority_of(record.levelno)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def priority_of(level: int) -> int:
    """The syslog priority of a logging level."""
    return next((priority for least, priority in _PRIORITIES if level >= least), 7)


def is_journal(environment: Mapping[str, str], descriptor: int) -> bool:
    """Whether a descriptor leads to the journal."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"


def log_to_journal(environment: Mapping[str, str], descriptor: int) -> None:
    """Let the root logger write for the journal when that is where standard error leads."""
    if is_journal(environment, descriptor):
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JournalFormatter())
