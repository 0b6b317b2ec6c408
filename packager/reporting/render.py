"""Turns documents into pages that need nothing else; the packager's door to jinja2.

Guarantees: a page loads nothing and runs nothing, and its Content-Security-Policy forbids both; whatever comes from
models, labels or file names is shown as text. The same document gives the same bytes.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from typing import TYPE_CHECKING

import jinja2

from packager.comparison.lines import verdict
from packager.reporting.view import view_report

if TYPE_CHECKING:
    from packager.comparison.document import Comparison
    from packager.reporting.document import Report

_NOTHING, _MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def render_report(report: Report) -> bytes:
    """The page of a report, UTF-8."""
    return _render("report.html", report=report, view=view_report(report))


def render_comparison(found: Comparison) -> bytes:
    """The page of a comparison of two bundles, UTF-8."""
    return _render("comparison.html", found=found, verdict=verdict(found))


def _render(name: str, **values: object) -> bytes:
    environment = _environment()
    style = environment.get_template("style.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    text = environment.get_template(name).render(style=style, style_digest=digest, **values)
    return text.encode("utf-8", "replace")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("packager.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "whole": lambda number: f"{number:,}",
        "bytes": _bytes,
        "ratio": lambda number: f"{number:.4f}",
        "signed": lambda number: _NOTHING if number is None else f"{number:+.4f}".replace("-", _MINUS),
        "percent": lambda number: f"{number * 100:.1f}\N{NARROW NO-BREAK SPACE}%",
    }
    return environment


def _bytes(number: float) -> str:
    """A number of bytes in few digits, decimal units."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(number) >= size:
            return f"{number / size:.3g}\N{NARROW NO-BREAK SPACE}{unit}"
    return f"{number:.0f}\N{NARROW NO-BREAK SPACE}B"
