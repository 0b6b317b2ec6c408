"""What a process does that looks at a model file which nobody vouches for; the other end of ``packager.child``.

Guarantees: it takes bounded memory, so that a hostile file cannot take the machine's; the file's structure is verified
before anything reads it; a refusal goes to the parent as a text, and leaves no core file when native code crashes.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable

from contract.errors import LitefleetError
from packager.runtime.verify import verify

REFUSED = b"!"
"""What a refusal starts with on standard output; no answer does, they are JSON."""
_MEMORY_LEAST_BYTES = 4 << 30
_MEMORY_FACTOR = 16
"""Address space: LiteRT, numpy and their threads take 1.5 GiB with a small model, a model several times its file."""


def answer(work: Callable[[bytes], bytes]) -> None:
    """Read a file from standard input, and write what work makes of it, or why it is refused, to standard output.

    Args:
        work: Gives the answer; may raise what the packager raises, and be ended by native code.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    content = sys.stdin.buffer.read()
    _bound_memory(_MEMORY_LEAST_BYTES + _MEMORY_FACTOR * len(content))
    try:
        verify(content)
        written = work(content)
    except LitefleetError as error:
        written = REFUSED + "; ".join((str(error), *error.faults)).encode()
    sys.stdout.buffer.write(written)


def _bound_memory(most_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = most_bytes if hard == resource.RLIM_INFINITY else min(most_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
