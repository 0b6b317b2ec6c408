"""Which slot of a model is active, which are good, and what they hold.

PURE. Rules:

1. At most one slot is active; a deployment fills the other one.
2. A slot is good once a deployment from it has succeeded, until it is emptied.
3. Rolling back goes to the active slot if that is good, else to the other if that is, else to none.
"""

from __future__ import annotations

import msgspec

from contract.scalars import MaybeDigestStr, MaybeModelStr, MaybeVersionStr

SLOT_NAMES = ("a", "b")


class SlotContent(msgspec.Struct, frozen=True, kw_only=True):
    """What a slot holds.

    Attributes:
        version: Version of the model; empty when the slot is.
        variant: Variant that runs from it.
        digest: sha256 of that variant's model file.
        good: Whether a deployment from it has succeeded.
    """

    version: MaybeVersionStr = ""
    variant: MaybeModelStr = ""
    digest: MaybeDigestStr = ""
    good: bool = False


EMPTY = SlotContent()


class SlotTable(msgspec.Struct, frozen=True, kw_only=True):
    """Both slots by name, and the active one's name; empty when none is."""

    active: str = ""
    a: SlotContent = EMPTY
    b: SlotContent = EMPTY

    def slot(self, name: str) -> SlotContent:
        """The slot of a name."""
        return self.a if name == "a" else self.b

    @property
    def inactive(self) -> str:
        """Name of the slot that a deployment may fill."""
        return "b" if self.active == "a" else "a"

    @property
    def running(self) -> SlotContent:
        """What the active slot holds; an empty slot when there is none."""
        return self.slot(self.active) if self.active else EMPTY

    def with_slot(self, name: str, slot: SlotContent) -> SlotTable:
        """The table with one slot replaced."""
        return msgspec.structs.replace(self, **{name: slot})

    def holds_new(self, version: str) -> str:
        """Name of the slot that a deployment of a version has filled; empty when there is none.

        The one it switched to comes first: then the switch has been made.
        """
        for name in (self.active, self.inactive):
            if name and self.slot(name).version == version and not self.slot(name).good:
                return name
        return ""

    def good_name(self) -> str:
        """Name of the slot that should be active after a roll back: the active one when good, else the other."""
        other = self.inactive
        if self.running.good:
            return self.active
        return other if self.slot(other).good else ""
