"""Log lines for the journal."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from edge_agent.service.journal import JournalFormatter, is_journal, log_to_journal, priority_of


def record(level: int, message: str) -> logging.LogRecord:
    return logging.LogRecord("edge_agent.app", level, "app.py", 1, message, (), None)


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2)],
)
def test_a_level_becomes_a_syslog_priority(level: int, priority: int) -> None:
    assert priority_of(level) == priority
    assert JournalFormatter().format(record(level, "hot")) == f"<{priority}>edge_agent.app: hot"


def test_every_line_of_a_traceback_keeps_its_priority() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        failed = record(logging.ERROR, "failed")
        failed.exc_info = sys.exc_info()
    lines = JournalFormatter().format(failed).splitlines()
    assert len(lines) > 4
    assert all(line.startswith("<3>") for line in lines)


def test_only_the_journal_itself_gets_priorities(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        status = os.fstat(file.fileno())
        stream = f"{status.st_dev}:{status.st_ino}"
        assert is_journal({"JOURNAL_STREAM": stream}, file.fileno())
        assert not is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"}, file.fileno())
        assert not is_journal({}, file.fileno())
        closed = file.fileno()
        handler = logging.StreamHandler(file)
        logging.getLogger().addHandler(handler)
        try:
            log_to_journal({}, closed)
            assert not isinstance(handler.formatter, JournalFormatter)
            log_to_journal({"JOURNAL_STREAM": stream}, closed)
            assert isinstance(handler.formatter, JournalFormatter)
        finally:
            logging.getLogger().removeHandler(handler)
    assert not is_journal({"JOURNAL_STREAM": stream}, closed)
