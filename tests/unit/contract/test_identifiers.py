"""Names that cross a boundary, and the order of versions."""

from __future__ import annotations

import re
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ManifestError
from contract.identifiers import (
    DEVICE_PATTERN,
    DIGEST_PATTERN,
    MODEL_PATTERN,
    OPAQUE_PATTERN,
    VERSION_PATTERN,
    Version,
    nearest,
    parse_device_id,
    parse_digest,
    parse_model,
    parse_opaque_id,
    parse_profile_id,
    parse_version,
)

Parse = Callable[[str], str]

MODEL_CHARS = set(string.ascii_lowercase + string.digits + "-")
DEVICE_CHARS = set(string.ascii_letters + string.digits + "_-")
# The rule in words of its own, apart from the regular expressions: characters, longest, what may not come first.
RULES: list[tuple[Parse, set[str], int, set[str]]] = [
    (parse_model, MODEL_CHARS, 63, {"-"}),
    (parse_profile_id, MODEL_CHARS, 63, {"-"}),
    (parse_device_id, DEVICE_CHARS, 64, {"-", "_"}),
    (parse_opaque_id, DEVICE_CHARS, 64, {"-", "_"}),
]
PARSERS: list[Parse] = [*(row[0] for row in RULES), parse_digest, parse_version]
ANY_TEXT = (
    st.text() | st.text(st.sampled_from("aZ09-_./#+\n\0\ud800é")) | st.text("ab-", min_size=60, max_size=70)
)


@given(st.sampled_from(RULES), ANY_TEXT)
def test_a_name_is_accepted_unchanged_exactly_when_it_follows_its_rule(
    rule: tuple[Parse, set[str], int, set[str]], text: str
) -> None:
    parse, characters, longest, not_first = rule
    if 1 <= len(text) <= longest and set(text) <= characters and text[0] not in not_first:
        assert parse(text) == text
    else:
        with pytest.raises(ManifestError):
            parse(text)


@given(st.sampled_from(PARSERS), ANY_TEXT)
def test_arbitrary_text_raises_manifest_error_alone_and_nothing_unsafe_passes(
    parse: Parse, text: str
) -> None:
    try:
        accepted = parse(text)
    except ManifestError:
        return
    assert accepted == text
    assert not set(text) & set("/#\\\0\n \"'<>")
    assert text not in {".", ".."}


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "../x",
        "a/b",
        "a\n",
        "\na",
        "a b",
        "a#",
        "a\0",
        "é",
        "\ud800",
        "\u0661.\u0660.\u0660",
        "_server",
        "-a",
    ],
)
def test_dangerous_names_are_refused_everywhere(parse: Parse, text: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse(text)
    assert caught.value.summary().encode()  # can be printed and sent


def test_a_refusal_shows_no_more_than_the_beginning_of_a_long_text() -> None:
    with pytest.raises(ManifestError) as caught:
        parse_model("x" * 10_000)
    assert len(caught.value.summary()) < 250
    assert caught.value.remedy == "a model name is 1 to 63 of a-z, 0-9 and -, not starting with -"


@given(st.text("0123456789abcdef", min_size=64, max_size=64))
def test_a_digest_is_64_lower_case_hexadecimal_digits(text: str) -> None:
    assert parse_digest(text) == text
    for bad in (text[:-1], text + "0", text[:-1] + "G", text[:-1] + "A"):
        with pytest.raises(ManifestError):
            parse_digest(bad)


# Versions. Examples are those of https://semver.org/spec/v2.0.0.html

CLAUSE_11 = [
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
]
CLAUSE_11_2 = ["1.0.0", "2.0.0", "2.1.0", "2.1.1"]
VALID = [
    "0.0.4",
    "1.2.3",
    "10.20.30",
    "1.1.2-prerelease+meta",
    "1.1.2+meta",
    "1.0.0-alpha",
    "1.0.0-alpha0.valid",
    "1.0.0-alpha.0valid",
    "1.0.0-0A.is.legal",
    "1.0.0---",
    "1.0.0-0",
    "1.0.0+0.build.1-rc.10000aaa-kk-0.1",
    "2.0.0+build.1848",
    "1.2.3----RC-SNAPSHOT.12.9.1--.12+788",
    "1.0.0+001",
    "999999999999999999.99999999999999999.9",
]
INVALID = [
    "1",
    "1.2",
    "1.2.3-0123",
    "1.2.3-0123.0123",
    "1.1.2+.123",
    "+invalid",
    "-invalid",
    "alpha",
    "1.0.0-alpha_beta",
    "1.0.0-alpha..",
    "01.1.1",
    "1.01.1",
    "1.1.01",
    "1.2.3.DEV",
    "1.2-SNAPSHOT",
    "v1.2.3",
    "1.2.3-+",
    "1.2.3-",
    "1.2.3+",
    "1.0.0+a+b",
    "~1.2.3",
    "1.0.0-ä",
    "-1.0.0",
    "1.0.0-a.-é",
]

parts = st.sampled_from(["0", "1", "2", "10", "11", "a", "b", "-", "rc", "0a", "A"])
versions = st.builds(
    lambda numbers, pre, build: (
        ".".join(map(str, numbers)) + (f"-{'.'.join(pre)}" if pre else "") + (f"+{build}" if build else "")
    ),
    st.tuples(*[st.integers(0, 12)] * 3),
    st.lists(parts, max_size=4),
    st.sampled_from(["", "b1", "001"]),
)


@pytest.mark.parametrize("text", VALID)
def test_a_semver_version_is_accepted(text: str) -> None:
    assert parse_version(text) == text == Version(text).text


@pytest.mark.parametrize("text", INVALID)
def test_what_is_no_semver_version_is_refused(text: str) -> None:
    with pytest.raises(ManifestError):
        parse_version(text)


@pytest.mark.parametrize("chain", [CLAUSE_11, CLAUSE_11_2])
def test_the_specifications_own_chains_rise(chain: list[str]) -> None:
    for index, lower in enumerate(chain):
        for higher in chain[index + 1 :]:
            assert Version(lower) < Version(higher)
            assert Version(higher) > Version(lower)
            assert Version(lower) != Version(higher)
    assert sorted(map(Version, reversed(chain))) == list(map(Version, chain))


def precedence(one: str, other: str) -> int:
    """Clause 11 word by word, as a second opinion: below, equal, above."""

    def compare(left: object, right: object) -> int:
        return int(left > right) - int(left < right)  # type: ignore[operator]

    (core_a, _, pre_a), (core_b, _, pre_b) = (text.partition("+")[0].partition("-") for text in (one, other))
    for left, right in zip(core_a.split("."), core_b.split("."), strict=True):  # 11.2
        if left != right:
            return compare(int(left), int(right))
    if not pre_a or not pre_b:  # 11.3
        return compare(not pre_a, not pre_b)
    fields_a, fields_b = pre_a.split("."), pre_b.split(".")
    for left, right in zip(fields_a, fields_b, strict=False):
        if left == right:
            continue
        if left.isdigit() and right.isdigit():  # 11.4.1
            return compare(int(left), int(right))
        if left.isdigit() or right.isdigit():  # 11.4.3
            return -1 if left.isdigit() else 1
        return compare(left, right)  # 11.4.2
    return compare(len(fields_a), len(fields_b))  # 11.4.4


@given(versions, versions)
def test_versions_compare_by_clause_11(one: str, other: str) -> None:
    expected = precedence(one, other)
    assert (Version(one) > Version(other)) - (Version(one) < Version(other)) == expected
    assert (Version(one) == Version(other)) is (expected == 0)
    if expected == 0:
        assert hash(Version(one)) == hash(Version(other))
        assert Version(one) <= Version(other)


@given(st.lists(versions, min_size=3, max_size=3))
def test_the_order_of_versions_is_transitive(texts: list[str]) -> None:
    low, middle, high = sorted(map(Version, texts))
    assert low <= middle <= high
    assert low <= high


def test_build_metadata_does_not_count() -> None:
    assert Version("1.0.0+a") == Version("1.0.0+b") != Version("1.0.1+a")


def test_a_version_has_at_most_64_characters() -> None:
    assert parse_version("1.0.0-" + "x" * 58)
    with pytest.raises(ManifestError, match="at most 64 characters, this one 1000000"):
        parse_version("9" * 1_000_000)


def test_huge_numerals_compare_as_numbers() -> None:
    nines = "9" * 50
    assert Version(f"{nines}.0.0") < Version(f"1{nines}.0.0")
    assert Version(f"1.0.0-{nines}") < Version(f"1.0.0-1{nines}")


def test_a_version_is_not_compared_with_anything_else() -> None:
    assert Version("1.0.0") != "1.0.0"
    with pytest.raises(TypeError):
        _ = Version("1.0.0") < "1.0.1"
    assert repr(Version("1.0.0")) == "Version('1.0.0')"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("unit", ["a1.", "1", "a", "-.", "0.", "a-"])
@pytest.mark.parametrize(
    "pattern", [MODEL_PATTERN, DEVICE_PATTERN, DIGEST_PATTERN, OPAQUE_PATTERN, VERSION_PATTERN]
)
def test_no_text_makes_a_pattern_slow(pattern: str, unit: str) -> None:
    # Messages are matched against the bare pattern before anything looks at their length.
    for start in ("", "1.0.0-", "1.0.0+", "1.0.0-a+"):
        assert re.fullmatch(pattern, start + unit * 200_000 + "!") is None


def test_the_nearest_known_words_are_named() -> None:
    known = ["memory_bytes", "threads", "name"]
    assert nearest("memory_byte", known) == "did you mean 'memory_bytes'?"
    assert nearest("theads", known) == "did you mean 'threads'?"
    assert nearest("names", ["name", "named"]) == "did you mean 'name' or 'named'?"
    assert nearest("xyz", known) == "known: memory_bytes, name, threads"
