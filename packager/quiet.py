"""Keeps the chatter of native libraries off the user's terminal.

Guarantees: inside ``native_output_hidden`` nothing that native code writes to file descriptor 2, and no Python
warning or progress bar of a library, reaches the terminal; afterwards the descriptor is what it was, and the text
is in the log at level DEBUG. Does not touch standard output. One thread at a time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

_log = logging.getLogger(__name__)
_STDERR = 2
_SHOWN_BYTES = 4096


@contextlib.contextmanager
def native_output_hidden() -> Iterator[None]:
    """Send file descriptor 2 to a temporary file while the block runs."""
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.stderr.flush()
        kept = os.dup(_STDERR)
        try:
            os.dup2(sink.fileno(), _STDERR)
            # A file of its own for Python's side: sys.stderr may be something that has no descriptor.
            with os.fdopen(os.dup(_STDERR), "w", encoding="utf-8") as own, contextlib.redirect_stderr(own):
                yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            sink.seek(0)
            text = sink.read(_SHOWN_BYTES).decode("utf-8", errors="replace").strip()
            if text:
                _log.debug("native libraries said: %s", text)
