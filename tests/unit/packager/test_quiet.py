"""Native chatter stays off the terminal, and nothing else does."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import pytest

from packager.quiet import native_output_hidden
from tests.support.own_process import opened


def test_what_native_code_and_libraries_say_goes_to_the_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with native_output_hidden():
        os.write(2, b"INFO: Created delegate\n")
        sys.stderr.write("50%|#####\n")
        warnings.warn("memory", UserWarning, stacklevel=1)
    assert capfd.readouterr() == ("", "")
    assert "INFO: Created delegate" in caplog.text
    assert "50%" in caplog.text


def test_afterwards_the_terminal_is_as_before(capfd: pytest.CaptureFixture[str]) -> None:
    with native_output_hidden():
        pass
    os.write(2, b"native\n")
    sys.stderr.write("python\n")
    assert capfd.readouterr().err == "native\npython\n"


def test_an_error_inside_comes_out_and_the_terminal_is_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="boom"), native_output_hidden():
        raise ValueError("boom")
    os.write(2, b"back\n")
    assert capfd.readouterr().err == "back\n"


def test_standard_output_is_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with native_output_hidden():
        os.write(1, b"table\n")
    assert capfd.readouterr().out == "table\n"


def test_descriptors_are_given_back() -> None:
    before = len(opened())
    for _ in range(3):
        with native_output_hidden():
            pass
    assert len(opened()) == before
