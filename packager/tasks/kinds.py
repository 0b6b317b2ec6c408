"""All kinds of tasks, by the names that ``--task`` takes."""

from __future__ import annotations

from contract.errors import ConfigError
from contract.identifiers import nearest
from packager.tasks import audio, classification, detection, embedding, regression, segmentation, tabular
from packager.tasks.custom import PREFIX, custom_kind
from packager.tasks.kind import Kind

DEFAULT_KIND = "classification"
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        classification.KIND,
        tabular.KIND,
        regression.KIND,
        embedding.KIND,
        audio.KIND,
        detection.KIND,
        segmentation.KIND,
    )
}


def find_kind(name: str) -> Kind:
    """The kind of this name; ``custom:module:function`` is one made of the user's own code.

    Raises:
        ConfigError: There is none.
    """
    if name.startswith(PREFIX):
        return custom_kind(name)
    kind = KINDS.get(name)
    if kind is None:
        raise ConfigError(f"there is no task {name[:80]!r}", remedy=nearest(name[:80], KINDS))
    return kind
