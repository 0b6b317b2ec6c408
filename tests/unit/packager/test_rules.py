"""What may be lost, as users write it."""

from __future__ import annotations

import pytest

from contract.errors import ConfigError
from packager.rules import Allowance, parse_allowance


@pytest.mark.parametrize(
    ("text", "wanted", "of_ninety"),
    [
        ("0.01", Allowance(0.01), 0.01),
        (" 1 % ", Allowance(0.01, is_relative=True), 0.009),
        ("0", Allowance(0.0), 0.0),
        ("100%", Allowance(1.0, is_relative=True), 0.9),
    ],
)
def test_an_allowed_loss_is_absolute_or_a_share_of_the_reference(
    text: str, wanted: Allowance, of_ninety: float
) -> None:
    found = parse_allowance(text)
    assert found == wanted
    assert found.of(0.9) == pytest.approx(of_ninety)


@pytest.mark.parametrize("text", ["", "one", "-0.01", "1.01", "101%", "nan", "nan%", "%", "1%%"])
def test_anything_else_is_refused_with_both_ways_to_write_it(text: str) -> None:
    with pytest.raises(ConfigError, match="is no allowed loss") as refused:
        parse_allowance(text)
    assert "1%" in refused.value.remedy


def test_an_allowed_loss_is_written_as_it_was_read() -> None:
    assert [str(parse_allowance(text)) for text in ("0.01", "1%", "0.5%")] == ["0.01", "1%", "0.5%"]
