"""The page on delegate coverage lists every rule, operator and cost, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from contract.profile import Precision
from firmware_profiles import load_profile
from packager.cost import cost_of
from packager.coverage import xnnpack
from packager.coverage.edgetpu import OPERATIONS
from packager.coverage.rules import EDGETPU_RULES, EDGETPU_SOURCE, XNNPACK_RULES, XNNPACK_SOURCE

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "delegate-coverage.md").read_text(
    "utf-8"
)
_NO_CHECK = {"ASSIGN_VARIABLE", "DENSIFY", "READ_VARIABLE", "VAR_HANDLE"}  # decided by the graph around them


def rows(section: str, head: str) -> dict[str, tuple[str, ...]]:
    """First cell, without its marks, to the other cells of a table."""
    text = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (part,) = [one for one in text if one.startswith(section + "\n")]
    lines = part[part.index(f"| {head} |") :].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    end = next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return {first.strip("`"): tuple(others) for first, *others in cells[:end]}


def test_every_rule_is_listed_with_its_statement_and_source() -> None:
    assert rows("XNNPACK", "Rule") == {name: tuple(rule) for name, rule in XNNPACK_RULES.items()}
    assert rows("Edge TPU", "Rule") == {name: tuple(rule) for name, rule in EDGETPU_RULES.items()}


def test_every_operator_that_xnnpack_has_is_listed() -> None:
    assert rows("XNNPACK", "Operator").keys() == xnnpack.CHECKS.keys() | _NO_CHECK


def test_every_operation_of_the_edge_tpu_is_listed_with_its_limitations() -> None:
    expected = {
        name: (f"{one.since} and newer" if one.since else "all", one.limitation)
        for name, one in OPERATIONS.items()
    }
    assert rows("Edge TPU", "Operation") == expected


def test_every_precision_is_listed_with_its_cost() -> None:
    board = load_profile("raspberry-pi-4")
    listed = rows("Cost of a rung", "Precision")
    assert listed.keys() == {precision.value for precision in Precision}
    for precision in Precision:
        cost = cost_of(board, precision)
        speed, why = listed[precision.value]
        assert speed == cost.speed.value
        assert cost.note.startswith(why)


def test_the_sources_are_named() -> None:
    repository, file = XNNPACK_SOURCE.split(", ")
    assert repository in PAGE
    assert file in PAGE
    assert EDGETPU_SOURCE in PAGE
