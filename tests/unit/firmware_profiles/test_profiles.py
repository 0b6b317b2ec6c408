"""Every shipped profile is sound, has its sources, and is described."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import firmware_profiles
from contract.errors import ConfigError
from contract.profile import (
    Budgets,
    Cpu,
    Delegate,
    DelegateName,
    OperatingSystem,
    Profile,
    RuntimeRange,
    Thermal,
)
from firmware_profiles import load_profile, profile_ids

FOLDER = Path(firmware_profiles.__file__).parent
README = (FOLDER / "README.md").read_text(encoding="utf-8")
TABLES: dict[str, type[msgspec.Struct]] = {
    "cpu": Cpu,
    "os": OperatingSystem,
    "runtimes": RuntimeRange,
    "delegates": Delegate,
    "budgets": Budgets,
    "thermal": Thermal,
}
DEMANDED = {
    "raspberry-pi-zero-2-w",
    "raspberry-pi-3b-plus",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "raspberry-pi-4-32bit",
    "jetson-nano",
    "jetson-orin-nano",
    "coral-dev-board",
    "raspberry-pi-4-coral-usb",
    "generic-aarch64",
    "generic-x86-64",
    "generic-x86-64-small",
    "android-arm64",
}


def _fields() -> list[str]:
    names = [
        field.encode_name for field in msgspec.structs.fields(Profile) if field.encode_name not in TABLES
    ]
    for table, struct in TABLES.items():
        names += [f"{table}.{field.encode_name}" for field in msgspec.structs.fields(struct)]
    return names


@pytest.mark.parametrize("profile_id", profile_ids())
def test_a_shipped_profile_parses_and_is_named_as_its_file(profile_id: str) -> None:
    assert load_profile(profile_id).id == profile_id


def test_every_board_that_the_project_promises_has_a_profile() -> None:
    assert set(profile_ids()) >= DEMANDED


@pytest.mark.parametrize("profile_id", profile_ids())
def test_sources_name_where_a_figure_comes_from_and_no_figure_that_is_not_there(profile_id: str) -> None:
    profile = load_profile(profile_id)
    known = {*_fields(), *TABLES}
    assert [key for key in profile.source if key not in known] == []
    assert [key for key, source in profile.source.items() if len(source) < 10] == []


@pytest.mark.parametrize("profile_id", profile_ids())
def test_a_plain_kernel_fall_back_ends_every_list_of_delegates(profile_id: str) -> None:
    assert load_profile(profile_id).delegates[-1].name is DelegateName.NONE


def test_the_small_profile_differs_from_the_generic_one_in_threads_memory_and_ladder() -> None:
    generic, small = load_profile("generic-x86-64"), load_profile("generic-x86-64-small")
    assert small.threads == 1 < generic.threads
    assert small.budgets.peak_memory_bytes < generic.budgets.peak_memory_bytes
    assert small.ladder[0] != generic.ladder[0]


def test_an_unknown_profile_is_refused_with_the_nearest_known_ones() -> None:
    with pytest.raises(ConfigError) as refused:
        load_profile("raspbery-pi-4")
    assert "'raspbery-pi-4'" in str(refused.value)
    assert "'raspberry-pi-4'" in refused.value.remedy


@pytest.mark.parametrize("field", _fields())
def test_every_field_stands_in_the_readmes_table(field: str) -> None:
    assert f"| `{field}` |" in README


@pytest.mark.parametrize("profile_id", profile_ids())
def test_every_profile_stands_in_the_readmes_table_with_its_ladder(profile_id: str) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| `{profile_id}` |"))
    assert row.endswith(f"| {', '.join(rung.value for rung in load_profile(profile_id).ladder)} |")
