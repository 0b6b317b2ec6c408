"""Runs cases one after another until native code ends it; ``python -m tests.fuzz.worker SEED FIRST END``.

Writes ``> number target`` before a case, and one line after it: ``ok``, ``refused``, ``memory``, ``slow`` or ``fault``
with a text. Its memory is bounded as the packager's own processes are.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import traceback
import warnings
from types import FrameType

from contract.errors import LitefleetError
from tests.fuzz.targets import TARGETS, case, models

MEMORY_BYTES = 5 << 30
CASE_S = 20


class TooSlowError(Exception):
    """A case took longer than it may."""


def run(seed: int, number: int) -> str:
    """Run a case; gives how it ended."""
    name, content = case(seed, number)
    sys.stdout.write(f"> {number} {name}\n")
    sys.stdout.flush()  # native code may end the process before anything else does
    signal.alarm(CASE_S)
    try:
        TARGETS[name][0](content)
    except LitefleetError as error:
        error.summary()
        return "refused"
    except MemoryError:
        return "memory"
    except TooSlowError as error:
        return f"slow {_where(error)}"
    except Exception as error:  # noqa: BLE001 - finding these is what this is for
        return f"fault {type(error).__name__}: {error} {_where(error)}".replace("\n", " ")
    finally:
        signal.alarm(0)
    return "ok"


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{os.path.basename(one.filename)}:{one.lineno}" for one in frames[::-1][:6])  # noqa: PTH119


def _stop(_: int, __: FrameType | None) -> None:
    raise TooSlowError


def main(seed: int, first: int, end: int) -> None:
    """Run cases, and end at the first that native code does not survive."""
    warnings.simplefilter("ignore")
    models()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, _stop)
    for number in range(first, end):
        with contextlib.suppress(TooSlowError):  # raised between two lines
            sys.stdout.write(f"{run(seed, number)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
