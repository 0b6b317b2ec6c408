"""A comparison for people who read a terminal.

PURE. Rules:

1. Worst first; a change without a line does not exist.
2. Nothing of a bundle reaches the terminal that would steer it: what cannot be printed is a question mark.
3. Digests are cut to their first 12 digits: enough to tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterator

from packager.comparison.document import BREAKS, FINE, LOOK, Comparison, VariantChange

_HEADS = {BREAKS: "breaks", LOOK: "look at", FINE: "fine"}
_DIGITS = 12


def comparison_lines(found: Comparison) -> Iterator[str]:
    """The whole comparison."""
    for line in _lines(found):
        yield "".join(letter if letter.isprintable() else "?" for letter in line)


def _lines(found: Comparison) -> Iterator[str]:
    for side, bundle in (("before", found.before), ("after", found.after)):
        what = f"{bundle.model} {bundle.version} for {bundle.profile}"
        yield f"{side:<7} {what}, {bundle.size_bytes:,} bytes, {bundle.file}"
    if found.is_same:
        yield "the bundles are the same"
        return
    yield verdict(found)
    for change in found.changes:
        yield f"  {_HEADS[change.effect]:<8}{change.area}: {change.text}"
    yield "variants"
    for variant in found.variants:
        yield f"  {variant.name}: {variant_text(variant)}"
    yield f"to fetch: {found.new_artifacts} new files, {found.new_bytes:,} bytes in all"
    if found.provenance:
        yield "provenance"
    for row in found.provenance:
        yield f"  {row.what}: {short(row.before)} -> {short(row.after)}"


def verdict(found: Comparison) -> str:
    """Whether the second may stand in for the first, in a sentence."""
    breaks = sum(change.effect == BREAKS for change in found.changes)
    look = sum(change.effect == LOOK for change in found.changes)
    if breaks:
        return f"{_count(breaks, 'change')} that may break applications, {_count(look, 'more')} to look at"
    if look:
        return f"nothing that breaks applications, {_count(look, 'change')} to look at"
    return "nothing that breaks applications"


def variant_text(variant: VariantChange) -> str:
    """What became of a variant."""
    before, after = variant.before, variant.after
    fetch = f"a device fetches {variant.fetch_bytes:,} bytes" if variant.fetch_bytes else "nothing to fetch"
    if after is None:
        return "removed"
    if before is None:
        return f"added, {after.size_bytes:,} bytes; {fetch}"
    if before == after:
        return f"same, {after.size_bytes:,} bytes; {fetch}"
    if before.sha256 == after.sha256:
        return f"the same file, described otherwise; {fetch}"
    size = f"{before.size_bytes:,} -> {after.size_bytes:,} bytes"
    if variant.bytes_changed is not None:
        share = variant.bytes_changed / after.size_bytes
        size = f"{after.size_bytes:,} bytes, {variant.bytes_changed:,} of them changed ({share:.0%})"
    value = f"{after.metric} {before.value:.4f} -> {after.value:.4f}"
    floats = f"float {before.float_value:.4f} -> {after.float_value:.4f}"
    return f"changed, {size}; {value} ({floats}); {fetch}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 or noun == "more" else f"{number} {noun}s"


def short(text: str) -> str:
    """A value of the provenance, digests cut."""
    is_digest = len(text) == 64 and text.isalnum()
    return (text[:_DIGITS] if is_digest else text) or "none"
