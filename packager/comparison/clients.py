"""What a change of a manifest does to applications that ask the model.

PURE. Rules:

1. Applications ask for a model by its name. They feed images where there is preprocessing, else tensors; they read
   decoded results, best classes, or tensors. Anything of these that is other breaks those that rely on it.
2. Who feeds images does not notice other preprocessing, since the agent obeys it; who feeds tensors does.
3. A label that is gone or stands elsewhere is told: who goes by its place gets another answer without an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from contract.manifest import Manifest
from contract.tensor import TensorSpec
from packager.comparison.document import BREAKS, FINE, LOOK, Change

_LABELS_SHOWN = 5
_CHARS_SHOWN = 120


def client_changes(before: Manifest, after: Manifest) -> Iterator[Change]:
    """Everything that an application may notice."""
    for key in ("model", "task"):
        old, new = shown(getattr(before, key)), shown(getattr(after, key))
        if old != new:
            yield Change(area=key, effect=BREAKS, text=f"is {new}, was {old}")
    yield from _tensor_changes("inputs", before.inputs, after.inputs)
    yield from _tensor_changes("outputs", before.outputs, after.outputs)
    yield from _preprocessing_changes(before, after)
    yield from _result_changes("postprocessing", before, after)
    yield from _result_changes("decoding", before, after)
    yield from _label_changes(before.labels, after.labels)


def shown(value: object) -> str:
    """A value of a manifest in a sentence."""
    text = str(msgspec.to_builtins(value))
    return text if len(text) <= _CHARS_SHOWN else f"{text[: _CHARS_SHOWN - 1]}…"


def _tensor_changes(area: str, before: Sequence[TensorSpec], after: Sequence[TensorSpec]) -> Iterator[Change]:
    old, new = {spec.name: spec for spec in before}, {spec.name: spec for spec in after}
    for name in (name for name in old if name not in new):
        yield Change(area=area, effect=BREAKS, text=f"{shown(name)} is gone")
    for name in (name for name in new if name not in old):
        effect = BREAKS if area == "inputs" else LOOK
        yield Change(area=area, effect=effect, text=f"{shown(name)} is new")
    common = [name for name in old if name in new]
    if common != [name for name in new if name in old]:
        yield Change(area=area, effect=BREAKS, text="stand in another order, for those that go by it")
    for name in common:
        for field, was, is_now in differences(old[name], new[name]):
            # What may come out is told; what may be fed, and every form, is relied on.
            effect = LOOK if area == "outputs" and field == "value_range" else BREAKS
            text = f"{field} of {shown(name)} is {shown(is_now)}, was {shown(was)}"
            yield Change(area=area, effect=effect, text=text)


def differences(before: msgspec.Struct, after: msgspec.Struct) -> Iterator[tuple[str, object, object]]:
    """Fields of two structs of one type that differ: name, what was, what is."""
    for field in before.__struct_fields__:
        was, is_now = getattr(before, field), getattr(after, field)
        if was != is_now:
            yield field, was, is_now


def _preprocessing_changes(before: Manifest, after: Manifest) -> Iterator[Change]:
    area, old, new = "preprocessing", before.preprocessing, after.preprocessing
    if old is None and new is not None:
        yield Change(area=area, effect=FINE, text="is there now: applications may feed images")
    elif old is not None and new is None:
        yield Change(area=area, effect=BREAKS, text="is gone: applications that feed images are refused")
    elif old is not None and new is not None:
        for field, was, is_now in differences(old, new):
            text = (
                f"{field} is {shown(is_now)}, was {shown(was)}: those that feed tensors must prepare them so"
            )
            yield Change(area=area, effect=BREAKS, text=text)


def _result_changes(area: str, before: Manifest, after: Manifest) -> Iterator[Change]:
    old, new = getattr(before, area), getattr(after, area)
    if type(old) is not type(new):
        text = f"is {_kind(new)}, was {_kind(old)}: applications get other results"
        yield Change(area=area, effect=BREAKS, text=text)
    elif old is not None:
        for field, was, is_now in differences(old, new):
            effect = LOOK if area == "postprocessing" and field == "top_k" else BREAKS
            if area == "decoding":
                effect = LOOK  # the agent obeys it: results keep their form
            yield Change(area=area, effect=effect, text=f"{field} is {shown(is_now)}, was {shown(was)}")


def _kind(value: object) -> str:
    return "none" if value is None else type(value).__name__


def _label_changes(before: Sequence[str], after: Sequence[str]) -> Iterator[Change]:
    if before == after:
        return
    gone, new = (
        [one for one in before if one not in set(after)],
        [one for one in after if one not in set(before)],
    )
    if gone:
        yield Change(area="labels", effect=BREAKS, text=f"{_list(gone)} removed")
    if new:
        yield Change(area="labels", effect=LOOK, text=f"{_list(new)} added")
    moved = [
        one
        for index, one in enumerate(before)
        if one in set(after) and tuple(after[index : index + 1]) != (one,)
    ]
    if moved:
        text = f"{_list(moved)} in another place: who goes by the number of a class gets another one"
        yield Change(area="labels", effect=LOOK, text=text)


def _list(labels: Sequence[str]) -> str:
    names = ", ".join(repr(shown(one)) for one in labels[:_LABELS_SHOWN])
    more = f" and {len(labels) - _LABELS_SHOWN} more" if len(labels) > _LABELS_SHOWN else ""
    return f"{len(labels)}: {names}{more}"
