"""Types and defaults of the contract's fields, in the words of the reference pages."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import inspect as types

from contract import scalars
from contract.deployment import Reason, State
from contract.manifest import Manifest
from contract.messages import MESSAGE_OF
from contract.profile import Profile
from packager.comparison.document import Comparison
from packager.reporting.document import Report

_LINKED = {
    State: "[state](deployment-states.md#states)",
    Reason: "[reason](deployment-states.md#reasons)",
}
_SCALARS = {
    types.BoolType: "boolean",
    types.NoneType: "null",
    types.DateTimeType: "time (RFC 3339, UTC)",
}
ROOTS: tuple[type[msgspec.Struct], ...] = (*MESSAGE_OF.values(), Manifest, Profile)
REPORTS: tuple[type[msgspec.Struct], ...] = (Report, Comparison)
"""What the packager writes for people and their tools; no part reads it."""
_NAMED_PATTERNS = {
    "ModelStr": "model name",
    "VersionStr": "version",
    "OpaqueStr": "identifier",
    "DigestStr": "digest",
    "MaybeModelStr": "model name, or empty",
    "MaybeVersionStr": "version, or empty",
    "MaybeOpaqueStr": "identifier, or empty",
    "MaybeDigestStr": "digest, or empty",
}


@functools.cache
def struct_types(roots: tuple[type[msgspec.Struct], ...] = ROOTS) -> dict[str, types.StructType]:
    """Every struct that these, by default messages, manifest and profile, are made of, by its name."""
    found: dict[str, types.StructType] = {}

    def walk(node: types.Type) -> None:
        if isinstance(node, types.StructType):
            if node.cls.__name__ in found:
                return
            found[node.cls.__name__] = node
            for field in node.fields:
                walk(field.type)
        for inner in _inner(node):
            walk(inner)

    for root in roots:
        walk(types.type_info(root))
    return found


def leaves(struct: types.StructType, place: str = "") -> list[str]:
    """Every field of a struct that is none itself, by its dotted name; those in arrays without an index."""
    found: list[str] = []
    for field in struct.fields:
        name = place + field.encode_name
        nested = [node for node in (field.type, *_inner(field.type)) if isinstance(node, types.StructType)]
        found += [leaf for inner in nested for leaf in leaves(inner, f"{name}.")] or [name]
    return found


def enums() -> list[type[enum.Enum]]:
    """Every enumeration that a field may hold."""
    found: dict[type[enum.Enum], None] = {}

    def walk(node: types.Type) -> None:
        if isinstance(node, types.EnumType):
            found[node.cls] = None
        for inner in _inner(node):
            walk(inner)

    for struct in struct_types().values():
        for field in struct.fields:
            walk(field.type)
    return list(found)


def _inner(node: types.Type) -> Iterator[types.Type]:
    for attribute in ("types", "item_types"):
        yield from getattr(node, attribute, ())
    for attribute in ("item_type", "key_type", "value_type"):
        if hasattr(node, attribute):
            yield getattr(node, attribute)


def type_name(node: types.Type) -> str:
    """A type for people."""
    match node:
        case types.UnionType(types=members):
            return " or ".join(type_name(member) for member in members)
        case types.StructType(cls=cls):
            return f"[{cls.__name__}](#{cls.__name__.lower()})"
        case types.EnumType(cls=cls):
            return _LINKED.get(cls) or _choice(member.value for member in cls)
        case types.LiteralType(values=values):
            return _choice(values)
        case types.DictType() | types.VarTupleType() | types.TupleType():
            return _container_name(node)
        case _:
            return _scalar_name(node)


def _choice(words: Iterable[object]) -> str:
    return "one of " + ", ".join(f"`{word}`" for word in words)


def _container_name(node: types.DictType | types.VarTupleType | types.TupleType) -> str:
    match node:
        case types.DictType(key_type=key, value_type=value):
            return f"object: {type_name(key)} to {type_name(value)}{_size(node)}"
        case types.VarTupleType(item_type=item):
            return f"array of {type_name(item)}{_size(node)}"
        case types.TupleType(item_types=items):
            return f"array of {len(items)}: " + ", ".join(type_name(item) for item in items)


def _scalar_name(node: types.Type) -> str:
    match node:
        case types.StrType():
            return _text_name(node)
        case types.IntType(ge=low, le=high):
            return "integer" + _range(low, high)
        case types.FloatType(ge=low, le=high):
            return "number" + _range(low, high)
        case _:
            return _SCALARS[type(node)]


def _range(low: float | None, high: float | None) -> str:
    words = {scalars.COUNT_MAX: "2^53 - 1", scalars.SECONDS_MAX: "a century"}
    return "" if low is None or high is None else f", {low} to {words.get(int(high), str(high))}"


def _size(node: types.DictType | types.VarTupleType) -> str:
    return f", at most {node.max_length}" if node.max_length is not None else ""


def _text_name(node: types.StrType) -> str:
    if node.pattern is not None:
        for name, words in _NAMED_PATTERNS.items():
            known = types.type_info(getattr(scalars, name))
            if isinstance(known, types.StrType) and known.pattern == node.pattern:
                return words
        raise TypeError(f"no words for the pattern {node.pattern}")
    if node.min_length is not None:
        return f"text, {node.min_length} to {node.max_length} characters"
    return "text" if node.max_length is None else f"text, at most {node.max_length} characters"


def default_name(field: types.Field) -> str:
    """A field's default for people; ``required`` where it has none."""
    if field.required:
        return "required"
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if default is None:
        return "null"
    return f"`{msgspec.json.encode(default).decode()}`"
