from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.check_coverage import Offender, find_complete, find_offenders, is_pure, render


def a_report(overall: float = 95.0, **files: dict[str, Any]) -> dict[str, Any]:
    return {"files": files, "totals": {"percent_covered": overall}}


def an_entry(percent: float, lines: list[int], branches: list[list[int]]) -> dict[str, Any]:
    return {
        "missing_lines": lines,
        "missing_branches": branches,
        "summary": {"percent_covered": percent},
    }


def test_a_complete_report_has_no_offenders() -> None:
    assert find_offenders(a_report(a=an_entry(100.0, [], [])), ["a"]) == []


def test_missing_lines_and_branches_of_a_complete_module_are_named_in_order() -> None:
    report = a_report(a=an_entry(80.0, [12], [[9, 11], [10, -3]]), b=an_entry(10.0, [1], []))
    assert find_offenders(report, ["a"]) == [Offender("a", 80.0, ("9->11", "10->exit", "12"))]


def test_a_complete_module_that_was_never_loaded_is_an_offender() -> None:
    assert find_offenders(a_report(), ["a"]) == [Offender("a", 0.0, ("never loaded",))]


def test_less_than_ninety_percent_of_all_is_an_offender() -> None:
    (offender,) = find_offenders(a_report(89.99), [])
    assert offender.percent == 89.99
    assert find_offenders(a_report(90.0), []) == []


def test_the_table_shows_the_first_gaps_and_counts_the_rest() -> None:
    lines = render([Offender("a.py", 50.0, tuple(str(n) for n in range(10)))])
    assert lines == " 50.00 %  a.py  0 1 2 3 4 5 6 7 and 2 more"


def test_a_module_is_pure_when_a_paragraph_of_its_docstring_starts_so() -> None:
    assert is_pure('"""What.\n\nPURE. Rules:\n"""')
    assert is_pure('"""PURE. What."""')
    assert not is_pure('"""Next to a PURE one."""')
    assert not is_pure('"""What."""\n# PURE')


def test_contract_and_pure_modules_are_the_complete_ones(tmp_path: Path) -> None:
    sources = {
        "contract/a.py": '"""Door."""',
        "server/pure.py": '"""A.\n\nPURE. B."""',
        "server/b.py": '"""C."""',
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    assert find_complete(tmp_path) == ["contract/a.py", "server/pure.py"]
