"""What a worker imports: in interpreters that have imported nothing yet, and as seen in its memory while it serves."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from edge_agent import connect
from tests.support.inference_slots import a_pool, images_of, serve
from tests.support.process_memory import packages_in

NEEDED = {"numpy", "msgspec", "ai_edge_litert"}
UNWANTED = {"paho", "tuf", "securesystemslib", "cryptography", "urllib3", "h11", "click", "PIL"}
_START = '{"model":"m","version":"1.0.0","slot_dir":"/s","threads":1,"socket_path":"/p"}'


def _said(program: str) -> list[str]:
    """What a fresh Python says to a program, line by line."""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@pytest.mark.parametrize(
    "imported",
    [
        "import edge_agent.inference.fork_server",
        f"from edge_agent.inference.worker import import_serving; import_serving({_START!r})",
    ],
    ids=["fork server", "executed worker"],
)
def test_what_serves_has_no_docstrings_of_numpy_and_looks_for_garbage_in_what_is_new(imported: str) -> None:
    has_docs, collects, kept = _said(
        f"{imported}\nimport gc, numpy\nprint(bool(numpy.ndarray.__doc__), gc.isenabled(), gc.get_freeze_count())"
    )

    assert has_docs == "False"
    assert collects == "True"
    assert int(kept) > 10_000


def test_numpy_does_what_it_does_without() -> None:
    program = """
from edge_agent.inference.lean import Lean
with Lean():
    import numpy as np
print(np.dot(np.eye(2), [1, 2]).tolist() == [1, 2], np.linalg.norm([3, 4]) == 5, np.median([1, 5, 2]) == 2)
"""

    assert _said(program) == ["True"] * 3


def test_who_comes_later_finds_every_module() -> None:
    program = """
from edge_agent.inference.lean import Lean
with Lean():
    import numpy
import importlib, typing_extensions
core = "_core" if hasattr(numpy, "_core") else "core"
docs = importlib.import_module(f"numpy.{core}._add_newdocs")
print(hasattr(typing_extensions, "TypedDict"), docs.__file__ is not None, bool(numpy.ndarray.__doc__))
"""

    assert _said(program) == ["True"] * 3


def test_what_is_imported_already_stays_as_it_is() -> None:
    program = """
import sys, typing_extensions, numpy
from edge_agent.inference.lean import Lean
before = dict(sys.modules)
with Lean():
    pass
print(all(sys.modules[name] is module for name, module in before.items()), bool(numpy.ndarray.__doc__))
"""

    assert _said(program) == ["True"] * 2


def test_an_import_that_fails_leaves_nothing_behind() -> None:
    program = """
import gc, sys
from edge_agent.inference.lean import Lean
before = gc.isenabled()
sys.path[:] = []
try:
    with Lean():
        print("imported")
except ImportError:
    left = [name for name in sys.modules if "_add_newdocs" in name or name == "typing_extensions"]
    print(before, gc.isenabled(), left == [])
"""

    assert _said(program) == ["True"] * 3


def test_who_does_without_collecting_garbage_goes_on_without() -> None:
    program = """
import gc
gc.disable()
from edge_agent.inference.lean import Lean
with Lean():
    pass
print(gc.isenabled())
"""

    assert _said(program) == ["False"]


@pytest.mark.parametrize("may_fork", [True, False], ids=["forked", "executed"])
def test_a_worker_that_serves_has_no_mqtt_no_tuf_and_no_decoder_before_it_gets_a_file(
    run_dir: Path,
    may_fork: bool,  # noqa: FBT001 - a case
) -> None:
    image = images_of(3)[0]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    with a_pool(run_dir, may_fork=may_fork) as (pool, _):
        worker = serve(pool)
        with connect(run_dir).model("digits") as model:
            assert model.infer(image).label == "3"
            assert packages_in(worker.pid, NEEDED | UNWANTED) == NEEDED

            assert model.infer(file.getvalue()).label == "3"
            assert packages_in(worker.pid, NEEDED | UNWANTED) == NEEDED | {"PIL"}
