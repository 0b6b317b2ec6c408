"""The families of errors: what a caller may conclude, and what people read."""

from __future__ import annotations

import pytest

from contract import errors
from contract.errors import (
    ConfigError,
    DeviceError,
    DigestError,
    LitefleetError,
    ManifestError,
    RejectedError,
    TransientError,
    error_of_code,
)

FAMILIES = (RejectedError, TransientError, DeviceError, ConfigError)
ALL = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LitefleetError)),
    key=lambda kind: kind.__name__,
)


def test_every_error_belongs_to_exactly_one_family() -> None:
    for kind in set(ALL) - {LitefleetError}:
        assert sum(issubclass(kind, family) for family in FAMILIES) == 1, kind


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in ALL]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("-", "").isalpha() and code.islower() for code in codes)


@pytest.mark.parametrize("kind", ALL)
def test_an_error_reported_by_its_code_is_the_same_error(kind: type[LitefleetError]) -> None:
    error = error_of_code(kind.code, "what", faults=["a"], remedy="do")
    assert type(error) is kind
    assert (str(error), error.faults, error.remedy) == ("what", ("a",), "do")


def test_an_unknown_code_is_a_refusal_that_is_not_retried() -> None:
    assert type(error_of_code("from-the-future", "what")) is RejectedError


def test_a_summary_is_one_line_with_every_fault_and_the_remedy() -> None:
    error = ManifestError("manifest is\nnot usable", faults=("a: missing", "b: missing"), remedy="write them")
    assert error.summary() == "manifest is not usable: a: missing; b: missing - write them"
    assert ManifestError("short").summary() == "short"


def test_diagnostics_name_code_faults_remedy_and_cause() -> None:
    try:
        raise ManifestError("not usable", faults=("a",), remedy="b") from ValueError("c")
    except ManifestError as error:
        lines = error.diagnostics().splitlines()
    assert lines == ["manifest: not usable", "  * a", "  what to do: b", "  caused by ValueError: c"]
    assert ManifestError("bare").diagnostics() == "manifest: bare"


def test_a_parts_own_narrower_class_does_not_take_the_place_of_the_contracts() -> None:
    class NarrowerError(DigestError):
        pass

    assert NarrowerError.code == DigestError.code
    assert type(error_of_code("digest", "what")) is DigestError
