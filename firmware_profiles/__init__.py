"""Device profiles shipped with litefleet: one TOML file per class of board, ``<id>.toml`` beside this file.

Guarantees: a profile comes out parsed and checked, and an unknown id is refused with the nearest known ones.
Reads package data through ``importlib.resources``, so it works from a wheel too. Keeps nothing in memory.
"""

from __future__ import annotations

from importlib import resources

from contract.errors import ConfigError, ManifestError
from contract.identifiers import nearest
from contract.profile import Profile, parse_profile

_SUFFIX = ".toml"


def profile_ids() -> list[str]:
    """Every known profile id, in alphabetical order."""
    names = (entry.name for entry in resources.files(__name__).iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))


def load_profile(profile_id: str) -> Profile:
    """Load one profile.

    Args:
        profile_id: As the file is called, without its ending.

    Raises:
        ConfigError: There is no such profile; names the nearest known ones.
        ManifestError: The shipped file breaks the profile's rules.
    """
    known = profile_ids()
    if profile_id not in known:
        raise ConfigError(f"there is no profile {profile_id[:80]!r}", remedy=nearest(profile_id, known))
    name = profile_id + _SUFFIX
    profile = parse_profile(resources.files(__name__).joinpath(name).read_bytes(), where=name)
    if profile.id != profile_id:
        raise ManifestError(f"{name} is not usable", faults=[f"id: {profile.id!r} is not the file's name"])
    return profile
