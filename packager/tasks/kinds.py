"""All kinds of tasks, by the names that ``--task`` takes."""

from __future__ import annotations

from contract.errors import ConfigError
from contract.identifiers import nearest
from packager.tasks import classification
from packager.tasks.kind import Kind

DEFAULT_KIND = "classification"
KINDS: dict[str, Kind] = {kind.name: kind for kind in (classification.KIND,)}


def find_kind(name: str) -> Kind:
    """The kind of this name.

    Raises:
        ConfigError: There is none.
    """
    kind = KINDS.get(name)
    if kind is None:
        raise ConfigError(f"there is no task {name[:80]!r}", remedy=nearest(name[:80], KINDS))
    return kind
