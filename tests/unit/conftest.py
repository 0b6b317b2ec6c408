from __future__ import annotations

from hypothesis import settings

# A shared machine may pause for longer than hypothesis allows an example; pytest's own time-out stays.
settings.register_profile("litefleet", deadline=None)
settings.load_profile("litefleet")
