"""The rules of the architecture, over the whole source; every checker is shown to be able to fail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.support import architecture
from tests.support.architecture import Module

ROOT = Path(__file__).resolve().parents[2]
MODULES = architecture.load(ROOT)

DOORS = {
    "packager": {
        "ai_edge_litert": "packager.runtime",
        "cryptography": "packager.keys",
        "jinja2": "packager.reporting.render",
        "keras": "packager.sources.converters",
        "litert_quantizer": "packager.quantize",
        "litert_torch": "packager.sources.converters",
        "onnx": "packager.sources.converters",
        "onnx2tf": "packager.sources.converters",
        "pycocotools": "packager.tasks.matching",
        "scipy": "packager.bootstrap",
        "securesystemslib": "packager.keys",
        "sklearn": "packager.tasks.metrics",
        "soundfile": "packager.audio",
        "soxr": "packager.audio",
        "tensorflow": "packager.sources.converters",
        "torch": "packager.sources.converters",
        "tuf": "packager.trust",
        "urllib3": "packager.http",
    },
    "edge_agent": {
        "ai_edge_litert": "edge_agent.inference.runtime",
        "cv2": "edge_agent.inference.sources.streams",
        "gpiod": "edge_agent.inference.sources.sinks",
        "h11": "edge_agent.gateway.http",
        "linuxpy": "edge_agent.inference.sources.cameras",
        "paho": "edge_agent.link.mqtt",
        "picamera2": "edge_agent.inference.sources.cameras",
        "sqlite3": "edge_agent.telemetry.outbox",
        "tensorflow": "edge_agent.inference.runtime",
        "tflite_runtime": "edge_agent.inference.runtime",
        "tuf": "edge_agent.update.verify",
        "urllib3": "edge_agent.update.http",
    },
    "server": {
        "alembic": "server.storage",
        "amqtt": "server.broker.embedded",
        "cryptography": "server.trust.metadata",
        "paho": "server.ingest.bridge",
        "securesystemslib": "server.trust.metadata",
        "sqlalchemy": "server.storage",
        "tuf": "server.trust.metadata",
        "urllib3": "server.ctl.client",
        "uvicorn": "server.http",
    },
}
"""Part to technology (top-level module) to the one module or package that may import it."""
NOWHERE = {"requests": "", "httpx": "", "aiohttp": ""}
"""What no part may import: a second HTTP client."""
CONVERTERS = "packager.sources.converters"
"""Runs in environments of its own, with the frameworks and without litefleet: its doors are their own world."""
HEAVY = ("numpy", "ai_edge_litert", "tflite_runtime", "tensorflow", "tuf", "urllib3", "PIL", "sqlalchemy")


def test_the_contract_imports_no_part_and_no_part_another() -> None:
    assert [fault for module in MODULES for fault in architecture.border_faults(module)] == []


def test_pure_modules_do_no_io_and_read_no_clock() -> None:
    assert [fault for module in MODULES for fault in architecture.purity_faults(module)] == []


def test_each_technology_has_one_door_in_each_part() -> None:
    ours = [module for module in MODULES if not architecture.is_within(module.name, CONVERTERS)]
    assert architecture.door_faults(ours, {**DOORS, "nowhere": NOWHERE}) == []


def test_what_runs_in_another_environment_imports_nothing_of_litefleet() -> None:
    assert architecture.isolation_faults(MODULES, CONVERTERS) == []


def test_every_door_is_there_and_imports_its_technology() -> None:
    imported = {
        (module.name, name.partition(".")[0])
        for module in MODULES
        for _, name in architecture.imports(module)
    }
    missing = [
        f"{door} imports no {technology}"
        for rows in DOORS.values()
        for technology, door in rows.items()
        if not any(
            wanted == technology and (name == door or name.startswith(f"{door}."))
            for name, wanted in imported
        )
    ]
    assert missing == []


def test_only_command_lines_print_and_exit() -> None:
    assert [fault for module in MODULES for fault in architecture.terminal_faults(module)] == []


def test_importing_a_module_opens_and_starts_nothing() -> None:
    assert [fault for module in MODULES for fault in architecture.building_faults(module)] == []


def test_every_module_is_short_and_says_what_it_is_for() -> None:
    faults = [fault for module in MODULES for fault in architecture.size_faults(module)]
    faults += [fault for module in MODULES for fault in architecture.docstring_faults(module)]
    assert faults == []


def test_tests_examples_and_scripts_are_short_too() -> None:
    modules = architecture.load(ROOT, ("tests", "examples", "scripts"))
    assert [fault for module in modules for fault in architecture.size_faults(module)] == []


def test_every_package_is_a_package_and_is_in_the_wheel() -> None:
    assert architecture.package_faults(MODULES) == []
    settings = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())["tool"]
    with_modules = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert with_modules == set(architecture.PACKAGES)
    assert set(settings["hatch"]["build"]["targets"]["wheel"]["packages"]) == with_modules
    assert set(settings["mypy"]["packages"]) == with_modules | {"tests"}
    assert set(settings["coverage"]["run"]["source"]) == with_modules


def test_the_agents_main_process_loads_no_runtime_and_no_numpy() -> None:
    program = (
        "import sys, edge_agent.app, edge_agent.cli; "
        f"sys.stdout.write(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


# Every checker can fail.

PURE = '"""What.\n\nPURE. Rules:\n"""\n'

PLANTED: list[tuple[Callable[[Module], list[str]], str, str, str]] = [
    (architecture.border_faults, "contract.x", "import server.app", "contract.x:1: imports server.app"),
    (architecture.border_faults, "contract.x", "import firmware_profiles", "imports firmware_profiles"),
    (architecture.border_faults, "server.x", "from edge_agent import y", "imports edge_agent.y"),
    (architecture.border_faults, "packager.x", "def f():\n import server", "packager.x:2: imports server"),
    (architecture.border_faults, "firmware_profiles", "import packager", "imports packager"),
    (architecture.purity_faults, "contract.x", PURE + "import os.path", "is PURE and imports os.path"),
    (architecture.purity_faults, "server.x", PURE + "def f():\n from time import time", "imports time.time"),
    (architecture.purity_faults, "server.x", PURE + "datetime.now(UTC)", "is PURE and calls now()"),
    (architecture.purity_faults, "server.x", PURE + "date.today()", "is PURE and calls today()"),
    (architecture.purity_faults, "server.x", PURE + "open('x')", "is PURE and calls open()"),
    (architecture.terminal_faults, "server.x", "print('x')", "server.x:1: calls print()"),
    (architecture.terminal_faults, "server.clip", "import sys\nsys.exit(1)", "server.clip:2: uses sys.exit"),
    (architecture.terminal_faults, "server.x", "from sys import exit", "imports sys.exit"),
    (architecture.building_faults, "server.x", "db = sqlite3.connect('x')", "calls connect() when imported"),
    (architecture.building_faults, "server.x", "class A:\n f = open('x')", "server.x:2: calls open()"),
    (architecture.building_faults, "server.x", "def f(x=open('y')): ...", "calls open() when imported"),
    (architecture.building_faults, "server.x", "def f(*, x=Popen('y')): ...", "calls Popen() when imported"),
    (architecture.building_faults, "server.x", "if True:\n Thread().start()", "calls Thread() when imported"),
    (architecture.size_faults, "server.x", "#\n" * 401, "server.x:401: more than 400 lines"),
    (architecture.docstring_faults, "server.x", "x = 1", "server.x:1: no docstring"),
]
SOUND: list[tuple[Callable[[Module], list[str]], str, str]] = [
    (architecture.border_faults, "server.x", "import contract.errors\nimport firmware_profiles, server.y"),
    (architecture.border_faults, "server.x", "import servers"),
    (architecture.purity_faults, "server.x", "import os"),
    (architecture.purity_faults, "server.x", PURE + "import math\narchive.open('x')\ntime(1)"),
    (architecture.terminal_faults, "server.cli", "import sys\nprint(1)\nsys.exit(1)"),
    (architecture.terminal_faults, "server.ctl.rows", "print(1)"),
    (architecture.terminal_faults, "server.x", "console.print(1)"),
    (architecture.building_faults, "server.x", "def f():\n open('x')\nasync def g():\n connect()"),
    (architecture.building_faults, "server.x", "f = lambda: open('x')"),
    (architecture.building_faults, "server.x", "if __name__ == '__main__':\n open('x')"),
    (architecture.building_faults, "server.x", "x = [f() for f in g]\ny = (lambda: 1)()"),
    (architecture.size_faults, "server.x", "#\n" * 400),
    (architecture.docstring_faults, "server.x", '"""What."""'),
]


@pytest.mark.parametrize(("check", "name", "source", "wanted"), PLANTED)
def test_a_planted_fault_is_found(
    check: Callable[[Module], list[str]], name: str, source: str, wanted: str
) -> None:
    (fault,) = check(Module(name, source))
    assert wanted in fault


@pytest.mark.parametrize(("check", "name", "source"), SOUND)
def test_sound_source_has_no_fault(check: Callable[[Module], list[str]], name: str, source: str) -> None:
    assert check(Module(name, source)) == []


def test_a_second_importer_of_a_technology_is_found_in_every_disguise() -> None:
    doors = {"server": {"paho": "server.link", "sqlalchemy": "server.storage"}}
    planted = [
        Module("server.link", "import paho.mqtt.client"),
        Module("server.storage.schema", "from sqlalchemy import Table"),
        Module("server.storage", "import sqlalchemy", is_package=True),
        Module("server.storages", "import sqlalchemy"),
        Module("server.a", "def f():\n    from paho.mqtt import client"),
        Module("server.b", "import importlib\nimportlib.import_module('paho.mqtt')"),
        Module("server.c", "__import__('paho')"),
        Module("packager.d", "import paho"),
        Module("server.e", "load_library('paho.mqtt', 'pip install paho-mqtt')"),
    ]
    assert architecture.door_faults(planted, doors) == [
        "server.storages:1: imports sqlalchemy, its door is server.storage",
        "server.a:2: imports paho, its door is server.link",
        "server.b:2: imports paho, its door is server.link",
        "server.c:1: imports paho, its door is server.link",
        "packager.d:1: imports paho, its door is None",
        "server.e:1: imports paho, its door is server.link",
    ]


def test_a_leak_out_of_or_into_another_environment_is_found() -> None:
    planted = [
        Module("packager.far.a", "from . import b\nimport numpy\nimport contract.errors"),
        Module("packager.far.b", "from .. import plan"),
        Module("packager.far.c", PURE),
        Module("packager.near", "from packager import far\nfrom packager.far.c import decide"),
        Module("packager.farther", "import packager.near"),
    ]
    assert architecture.isolation_faults(planted, "packager.far") == [
        "packager.far.a:3: imports contract.errors",
        "packager.far.b:1: imports packager.plan",
        "packager.near:1: imports packager.far",
    ]


def test_relative_imports_are_resolved() -> None:
    module = Module("server.api.x", "from . import y\nfrom ..app import z\nfrom ...packager import cli")
    assert [name for _, name in architecture.imports(module)] == [
        "server.api.y",
        "server.app.z",
        "packager.cli",
    ]
    package = Module("server.api", "from . import y", is_package=True)
    assert list(architecture.imports(package)) == [(1, "server.api.y")]


def test_a_computed_import_counts_for_every_name_in_the_module() -> None:
    source = "NAMES = ('paho.mqtt', 'not a module', 3)\nfor name in NAMES:\n    import_module(name)\nf()()"
    assert list(architecture.imports(Module("server.x", source))) == [(1, "paho.mqtt")]
    assert list(architecture.imports(Module("server.x", "NAMES = ('paho.mqtt',)\nf()()"))) == []


def test_a_folder_without_init_is_found() -> None:
    modules = [Module("server", '"""S."""', is_package=True), Module("server.api.x", '"""X."""')]
    assert architecture.package_faults(modules) == ["server.api:1: has no __init__.py"]


def test_modules_are_loaded_by_their_dotted_names(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "__init__.py").write_text('"""S."""')
    (tmp_path / "server" / "x.py").write_text('"""X.\n\nPURE. Y."""')
    package, module = architecture.load(tmp_path, ["server"])
    assert (package.name, package.is_package) == ("server", True)
    assert (module.name, module.part, module.is_package) == ("server.x", "server", False)
    assert architecture.is_pure(module)
    assert not architecture.is_pure(package)
