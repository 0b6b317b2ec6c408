"""The child process that reads a model file's facts for lint.

Reads the file's bytes from standard input and writes ``ModelFacts`` as one JSON line to standard output. Run as
``python -m packager.lint.child``.
"""

from __future__ import annotations

import msgspec

from packager import confined
from packager.lint.read import read_facts

if __name__ == "__main__":
    confined.answer(lambda content: msgspec.json.encode(read_facts(content)))
