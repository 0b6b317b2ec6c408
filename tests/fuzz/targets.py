"""What reads files of others, as the packager's processes do it, without starting a process for each.

Each target takes the bytes of a file and may refuse it with a ``LitefleetError``; anything else it raises is a fault.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from firmware_profiles import load_profile
from packager.coverage.coverage import Predictions
from packager.coverage_probe import predict
from packager.coverage_text import coverage_json, coverage_lines
from packager.inspection import inspect_bundle
from packager.lint.facts import Facts
from packager.lint.read import read_facts
from packager.lint.rules import lint as judge
from packager.normalize.rewrite import normalize
from packager.probe import probe
from packager.project import gate_rules, numbers, override, parse_project
from packager.report import manifest_json
from packager.runtime.verify import verify
from tests.fuzz.spoil import RAW, places, rebuild
from tests.support.builders import a_bundle
from tests.support.coverage_precisions import digits_in
from tests.support.packager_models import digits_model
from tests.support.packager_unusual import free_batch, half_without_signature, sparse_half

PROFILES = ("raspberry-pi-4", "coral-dev-board")
PROJECT = b"""# of a team
[pack]
model = "digits.tflite"
name = "digits"
version = "1.0.0"
profiles = ["raspberry-pi-4", "generic-x86-64"]
evaluation = "evaluation"
calibration = "calibration"
mean = [0.0, 0.0, 0.0]
std = 255.0
resize = "letterbox"
max_drop = "1%"
confidence = 0.95
min_samples = 100
"""


def run_probe(content: bytes) -> None:
    """The process that first touches a model of ``pack``."""
    verify(content)
    probe(content)


def run_lint(content: bytes) -> None:
    """``lint``: facts in a process of their own, rules in the caller's."""
    verify(content)
    facts = Facts(model=read_facts(content))
    for finding in judge(facts, [load_profile(name) for name in PROFILES]):
        finding.line()


def run_coverage(content: bytes) -> None:
    """``coverage``."""
    verify(content)
    found: Predictions = predict(content, 14)
    for _ in coverage_lines("model", found, None, ("xnnpack", "edgetpu")):
        pass
    coverage_json("model", found, None, ("xnnpack", "edgetpu"))


def run_normalize(content: bytes) -> None:
    """What ``pack`` does to a model that is not in the form for quantizing."""
    verify(content)
    normalize(content)


def run_inspect(content: bytes) -> None:
    """``inspect``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.bundle"
        path.write_bytes(content)
        manifest_json(inspect_bundle(path))


def run_project(content: bytes) -> None:
    """The project file of ``pack``."""
    from packager.project import Project

    table = override(Project(parse_project(content).pack, {}, None), {})
    gate_rules(table)
    numbers(table.mean)


@functools.cache
def models() -> tuple[bytes, ...]:
    """Sound models of different kinds."""
    made = [
        digits_in(name)
        for name in ("static_wi8_ai8", "dynamic_wi8_afp32", "float16", "weight_only_wi4_afp32")
    ]
    return (digits_model(), half_without_signature(), sparse_half(), free_batch(), *made)


@functools.cache
def bundle() -> bytes:
    """A sound bundle."""
    with tempfile.TemporaryDirectory() as folder:
        return a_bundle(Path(folder)).read_bytes()


def a_model(random: Random) -> bytes:
    """A spoiled model."""
    content = random.choice(models())
    if random.random() < 0.5:
        return rebuild(content, random)
    return random.choice(RAW)(content, random, places(content))


def a_spoiled_bundle(random: Random) -> bytes:
    """A spoiled bundle; ZIP keeps what matters at the end, and the manifest stands in front."""
    content = bundle()
    spots = (*range(0, min(len(content), 4000), 16), *range(max(0, len(content) - 600), len(content), 4))
    return random.choice(RAW)(content, random, spots)


def a_project(random: Random) -> bytes:
    """A spoiled project file."""
    content = random.choice(RAW)(PROJECT, random, ())
    return content.replace(b"255.0", random.choice((b"1e999", b"nan", b"-0.0", b"[]", b"[[1]]", b"255.0")))


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[Random], bytes], int]] = {
    "probe": (run_probe, a_model, 3),
    "lint": (run_lint, a_model, 3),
    "coverage": (run_coverage, a_model, 4),
    "normalize": (run_normalize, a_model, 2),
    "inspect": (run_inspect, a_spoiled_bundle, 2),
    "project": (run_project, a_project, 1),
}
"""Name to what runs, what makes its input, and its share of the cases."""


def case(seed: int, number: int) -> tuple[str, bytes]:
    """The target and input of a case; always the same."""
    random = Random(f"{seed}-{number}")
    names = [name for name, (_, _, share) in TARGETS.items() for _ in range(share)]
    name = random.choice(names)
    return name, TARGETS[name][1](random)
