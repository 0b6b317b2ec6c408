"""Tasks that are a user's own function."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import ConfigError, LitefleetError, ManifestError
from contract.manifest import Task
from contract.tensor import DType
from packager.bootstrap import drop_interval, point_estimate
from packager.tasks.kind import Loaded
from packager.tasks.kinds import find_kind
from tests.support.task_builders import load, source, spec

MODEL = source([spec("x", 1, 2)], [spec("y", 1, 1), spec("z", 1, dtype=DType.INT32)])
HEAD = """
import numpy as np
from packager.tasks.custom import CustomTask
"""
SOUND = (
    HEAD
    + """
from help_of_it import LIMIT

def near(outputs, truth):
    return abs(outputs["y"][0] - truth["y"]) < LIMIT

def task(request):
    samples = [({"x": [number, 2.0]}, {"y": float(number), "name": "n"}) for number in range(4)]
    return CustomTask(samples=samples, score=near, metric="near", calibration=[inputs for inputs, _ in samples])
"""
)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A folder whose modules are forgotten again."""
    known, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def read(project: Path, text: str, function: str = "my_task:task") -> Loaded:
    project.mkdir(exist_ok=True)
    (project / "my_task.py").write_text(text, encoding="utf-8")
    return load(find_kind(f"custom:{function}"), MODEL, project / "data", {})


def outputs(*values: float) -> list[Any]:
    return [np.array(values, dtype=np.float32)[:, np.newaxis], np.arange(len(values), dtype=np.int32)]


def error_of(project: Path, text: str, function: str = "my_task:task") -> LitefleetError:
    with pytest.raises((ManifestError, ConfigError)) as caught:
        measure(project, text, function)
    return caught.value


def measure(project: Path, text: str, function: str) -> float:
    task = read(project, text, function).task
    return point_estimate(task, task.score(outputs(0.0, 1.0, 2.0, 3.0), range(4)))


def test_the_users_function_gives_samples_scores_and_the_metrics_name(project: Path) -> None:
    (project / "help_of_it.py").write_text("LIMIT = 0.5", encoding="utf-8")
    found = read(project, SOUND)
    scores = found.task.score(outputs(0.0, 1.4, 9.0, np.nan), range(4))
    assert scores.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert (found.task.metric, point_estimate(found.task, scores)) == ("near", 0.5)
    assert found.task.inputs([3])[0].tolist() == [[3.0, 2.0]]
    assert found.task.score(outputs(3.0), [3]).tolist() == [1.0]
    assert found.presentation.task is Task.CUSTOM
    assert found.calibration is not None
    assert len(found.calibration) == 4
    assert (found.task.classes, found.task.strata.tolist()) == ((), [0, 0, 0, 0])
    assert found.task.per_class(scores).size == 0
    assert np.isinf(found.task.margin(outputs(0.0))).all()
    assert found.task.digests[0] != found.task.digests[1]
    assert found.task.preparation


def test_another_source_of_the_task_or_of_what_it_imports_gives_another_scoring(
    tmp_path: Path, project: Path
) -> None:
    (project / "help_of_it.py").write_text("LIMIT = 0.5", encoding="utf-8")
    texts = [read(project, SOUND).task.scoring]
    for change, value in ((SOUND, "LIMIT = 0.25"), (SOUND + "\n# changed", "LIMIT = 0.25")):
        for name in ("my_task", "help_of_it"):
            sys.modules.pop(name, None)
        (project / "help_of_it.py").write_text(value, encoding="utf-8")
        texts.append(read(project, change).task.scoring)
    assert len(set(texts)) == 3


def test_other_truth_gives_another_digest_of_the_samples(tmp_path: Path, project: Path) -> None:
    (project / "help_of_it.py").write_text("LIMIT = 0.5", encoding="utf-8")
    digests = []
    for text in (SOUND, SOUND, SOUND.replace('"n"', '"m"'), SOUND.replace("2.0]", "2.5]")):
        sys.modules.pop("my_task", None)
        digests.append(read(project, text).task.sha256)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_task_may_bring_its_own_metric_over_all_samples(project: Path) -> None:
    text = (
        HEAD
        + """
def score(outputs, truth):
    hit = outputs["y"][0] > 1.5
    return [hit and truth, hit and not truth, truth and not hit]

def f1(scores, counts):
    hits, false, missed = (counts @ scores).T
    return 2 * hits / np.maximum(2 * hits + false + missed, 1)

def task(request):
    samples = [({"x": np.zeros((1, 2))}, np.bool_(number > 0)) for number in range(4)]
    return CustomTask(samples=samples, score=score, aggregate=f1, values=3, metric="f1")
"""
    )
    task = read(project, text).task
    scores = task.score(outputs(0.0, 0.0, 2.0, 2.0), range(4))
    assert point_estimate(task, scores) == pytest.approx(0.8)
    low, high = drop_interval(task, scores, 1.0)
    assert 0 <= low < 0.2 < high


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def task(request):\n    return 1 / 0", "ZeroDivisionError: division by zero"),
        ("def task(:", "SyntaxError"),
        ("import sys\ndef task(request):\n    sys.exit('no')", "SystemExit: no"),
        (HEAD + "def task(r):\n    return CustomTask(samples=7, score=print)", "TypeError"),
        (
            HEAD + "def task(r):\n    return CustomTask(samples=[({'x': [1, 2]}, 0)], score=lambda o: 1)",
            "TypeError",
        ),
        (
            HEAD
            + "def task(r):\n    return CustomTask(samples=[({'x': [1, 2]}, 0)] * 4, score=lambda o, t: o['y'],"
            "aggregate=lambda s, c: 1 / 0)",
            "ZeroDivisionError",
        ),
    ],
)
def test_what_the_users_code_raises_is_shown_with_its_own_lines(
    project: Path, text: str, wanted: str
) -> None:
    error = error_of(project, text)
    assert isinstance(error, ManifestError)
    assert "your code failed while" in str(error)
    assert wanted in str(error)
    assert all("custom_code.py" not in fault for fault in error.faults)
    if "1 / 0" in text:
        assert "my_task.py:" in error.faults[-1]
        assert "1 / 0" in error.faults[-1]


@pytest.mark.parametrize(
    ("returned", "wanted"),
    [
        ("None", "returned NoneType, not a CustomTask"),
        ("CustomTask(samples=[], score=print)", "there is no sample"),
        ("CustomTask(samples=[1], score=print)", "not a pair of inputs and truth"),
        ("CustomTask(samples=[(1, 2)], score=print)", "sample 0 is int, not a mapping"),
        ("CustomTask(samples=[({'X': [1, 2]}, 0)], score=print)", "input x is missing"),
        (
            "CustomTask(samples=[({'x': [1, 2, 3]}, 0)], score=print)",
            "input x has shape (3,), the model takes (2,)",
        ),
        (
            "CustomTask(samples=[({'x': [1, float('nan')]}, 0)], score=print)",
            "missing, infinite or too large",
        ),
        ("CustomTask(samples=[({'x': ['a', 'b']}, 0)], score=print)", "numbers are needed"),
        ("CustomTask(samples=[({'x': [1, 2]}, object())], score=print)", "truth cannot be told apart"),
        (
            "CustomTask(samples=[({'x': [1, 2]}, np.array([None]))], score=print)",
            "truth cannot be told apart",
        ),
        ("CustomTask(samples=[({'x': [1, 2]}, 0)], score=print, metric='')", "metric must be a name"),
        ("CustomTask(samples=[({'x': [1, 2]}, 0)], score=print, values=2)", "it needs an aggregate"),
        (
            "CustomTask(samples=[({'x': [1, 2]}, 0)] * 4, score=lambda o, t: 1.5)",
            "must be one number from 0 to 1",
        ),
        ("CustomTask(samples=[({'x': [1, 2]}, 0)] * 4, score=lambda o, t: o['y'])", "must be one number"),
        ("CustomTask(samples=[({'x': [1, 2]}, 0)] * 4, score=lambda o, t: np.nan)", "must be one number"),
        (
            "CustomTask(samples=[({'x': [1, 2]}, 0)] * 4, score=lambda o, t: [1], aggregate=max, values=2)",
            "must be 2 finite numbers",
        ),
        (
            "CustomTask(samples=[({'x': [1, 2]}, 0)] * 4, score=lambda o, t: 3, aggregate=lambda s, c: s[0])",
            "one number from 0 to 1 for each row",
        ),
    ],
)
def test_what_is_no_task_is_refused_with_what_is_wrong(project: Path, returned: str, wanted: str) -> None:
    error = error_of(project, f"{HEAD}\ndef task(request):\n    return {returned}\n")
    assert wanted in error.summary()


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        ("my_task", "names no function"),
        ("my task:task", "names no function"),
        ("../my_task:task", "names no function"),
        ("your_task:task", "there is no module your_task - put your_task.py into"),
        ("my_task:taks", "module my_task has no function 'taks' - it has task"),
        ("my_task:CustomTsk", "no function"),
    ],
)
def test_a_function_that_is_not_there_is_wrong_usage(project: Path, function: str, wanted: str) -> None:
    error = error_of(project, f"{HEAD}\ndef task(request): ...", function)
    assert isinstance(error, ConfigError)
    assert wanted in error.summary()


def test_a_module_of_constants_has_no_functions(project: Path) -> None:
    assert "it has no functions" in error_of(project, "LIMIT = 3").summary()


def test_a_file_of_the_project_does_not_stand_in_for_an_installed_module(project: Path) -> None:
    (project / "msgspec.py").write_text("raise RuntimeError", encoding="utf-8")
    assert "no function 'task'" in error_of(project, "", "msgspec:task").summary()
