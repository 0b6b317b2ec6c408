"""Device profiles: what is refused, and with which words."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contract.errors import ManifestError
from contract.profile import PROFILE_MAX_BYTES, Arch, DelegateName, Precision, Profile, parse_profile

SOUND = """
schema = 1
id = "toy-board"
name = "Toy board"
arch = "aarch64"
compatible = ["toy,board"]
memory_bytes = 1073741824
threads = 4
ladder = ["static-int8", "float32"]
cpu = { cores = 4, model = "Cortex-A72", features = ["asimd"] }
os = { name = "Toy OS", glibc = "2.36" }
budgets = { latency_ms_p95 = 50.0, peak_memory_bytes = 1000, bundle_bytes = 2000 }
thermal = { sensor = "/sys/class/thermal/thermal_zone0/temp", soft_celsius = 70.0, hard_celsius = 80 }
[[runtimes]]
name = "ai-edge-litert"
minimum = "2.1.3"
[[runtimes]]
name = "tflite-runtime"
[[delegates]]
name = "xnnpack"
options = { flag = "on" }
[[delegates]]
name = "none"
port_mbps = 480
[source]
memory_bytes = "data sheet"
threads = "own measurement"
"cpu.cores" = "data sheet"
"budgets.latency_ms_p95" = "chosen"
"budgets.peak_memory_bytes" = "chosen"
"budgets.bundle_bytes" = "chosen"
"thermal.soft_celsius" = "data sheet"
"thermal.hard_celsius" = "data sheet"
"os.glibc" = "Debian 12"
"""
HUGE = "9" * 4000


def parse(old: str = "", new: str = "") -> Profile:
    """The sound profile with one text replaced."""
    assert old in SOUND
    return parse_profile(SOUND.replace(old, new, 1).encode(), where="toy.toml")


def refusal(old: str, new: str) -> ManifestError:
    with pytest.raises(ManifestError, match=r"toy\.toml") as caught:
        parse(old, new)
    return caught.value


def test_a_sound_profile_is_read() -> None:
    profile = parse()
    assert (profile.id, profile.arch, profile.cpu.cores) == ("toy-board", Arch.AARCH64, 4)
    assert profile.ladder == (Precision.STATIC_INT8, Precision.FLOAT32)
    assert [delegate.name for delegate in profile.delegates] == [DelegateName.XNNPACK, DelegateName.NONE]
    assert profile.delegates[0].options == {"flag": "on"}
    assert profile.thermal is not None
    assert profile.thermal.hard_celsius == 80.0


def test_a_board_without_a_thermal_sensor_needs_no_limits() -> None:
    text = "\n".join(line for line in SOUND.splitlines() if "thermal" not in line)
    assert parse_profile(text.encode()).thermal is None


UNKNOWN = [
    ("threads = 4", "threds = 4", "threds: unknown key, did you mean 'threads'?"),
    ("cores = 4", "core = 4", "cpu.core: unknown key, did you mean 'cores'?"),
    ('glibc = "2.36"', 'glib = "2.36"', "os.glib: unknown key, did you mean 'glibc'?"),
    (
        "soft_celsius = 70.0",
        "soft_celcius = 70.0",
        "thermal.soft_celcius: unknown key, did you mean 'soft_celsius'",
    ),
    (
        "bundle_bytes = 2000",
        "bundle_byte = 2000",
        "budgets.bundle_byte: unknown key, did you mean 'bundle_bytes'?",
    ),
    ('minimum = "2.1.3"', 'minimun = "2.1.3"', "runtimes[0].minimun: unknown key, did you mean 'minimum'"),
    ("port_mbps = 480", "port_mbit = 480", "delegates[1].port_mbit: unknown key, did you mean 'port_mbps'?"),
]


@pytest.mark.parametrize(("old", "new", "fault"), UNKNOWN)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(old: str, new: str, fault: str) -> None:
    (found,) = refusal(old, new).faults
    assert found.startswith(fault)


FAULTS = [
    ("schema = 1", "schema = 2", "schema 2 is not 1"),
    ('id = "toy-board"', 'id = "Toy"', "id: 'Toy' is not a profile id"),
    ("memory_bytes = 1073741824", "memory_bytes = 999", "budgets.peak_memory_bytes: more than the board has"),
    ("bundle_bytes = 2000", "bundle_bytes = 0", "budgets.bundle_bytes: must be finite and above 0"),
    ("= 50.0", "= inf", "budgets.latency_ms_p95: must be finite and above 0"),
    ("= 50.0", "= nan", "budgets.latency_ms_p95: must be finite and above 0"),
    ("threads = 4", "threads = 5", "threads: 5 on 4 cores"),
    ("threads = 4", f"threads = {HUGE}", f"threads: {HUGE} on 4 cores"),
    (
        "soft_celsius = 70.0",
        "soft_celsius = 80.0",
        "thermal: soft_celsius must be below hard_celsius, both finite",
    ),
    (
        "hard_celsius = 80",
        "hard_celsius = inf",
        "thermal: soft_celsius must be below hard_celsius, both finite",
    ),
    (
        "soft_celsius = 70.0",
        "soft_celsius = nan",
        "thermal: soft_celsius must be below hard_celsius, both finite",
    ),
    ('ladder = ["static-int8", "float32"]', "ladder = []", "ladder: at least one is needed"),
    ('"static-int8", "float32"', '"float32", "float32"', "ladder: one is named twice"),
    ('name = "tflite-runtime"', 'name = "ai-edge-litert"', "runtimes: one is named twice"),
    ('name = "none"', 'name = "xnnpack"', "delegates: one is named twice"),
    ('threads = "own measurement"', "", "source: missing for threads"),
    ('"thermal.hard_celsius" = "data sheet"', "", "source: missing for thermal.hard_celsius"),
    ('"os.glibc" =', '"os.glib" =', "source: os.glib is no figure, did you mean 'os.glibc'"),
]


@pytest.mark.parametrize(("old", "new", "fault"), FAULTS, ids=[row[2][:40] for row in FAULTS])
def test_a_contradiction_is_named(old: str, new: str, fault: str) -> None:
    (found,) = refusal(old, new).faults
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('arch = "aarch64"', 'arch = "z80"'),
        ("threads = 4", 'threads = "4"'),
        ("threads = 4", "threads = 4.5"),
        ("threads = 4", "threads = true"),
        ("threads = 4", ""),
        ('name = "none"', 'name = "gpu"'),
        ("= 50.0", f"= {HUGE}"),
        ("hard_celsius = 80", f"hard_celsius = {HUGE}"),
        ('"cpu.cores" = "data sheet"', 'cpu.cores = "data sheet"'),
        ('name = "Toy board"', "name = 1979-05-27"),
        ("cpu = {", "cpu = 3 #"),
        ('options = { flag = "on" }', "options = { flag = 1 }"),
        ("schema = 1", "schema = 1\nschema = 1"),
    ],
)
def test_a_value_of_the_wrong_type_or_a_missing_one_is_refused(old: str, new: str) -> None:
    refusal(old, new)


def test_every_fault_is_listed() -> None:
    assert refusal("cores = 4", "cores = -1").faults == (
        "cpu.cores: must be finite and above 0",
        "threads: 4 on -1 cores",
    )


def test_a_profile_of_thousands_of_unknown_keys_is_refused_in_a_short_text() -> None:
    content = "\n".join(f"k{n} = 1" for n in range(4000)).encode()
    with pytest.raises(ManifestError) as caught:
        parse_profile(content)
    assert len(caught.value.faults) == 50
    with pytest.raises(ManifestError) as caught:
        parse_profile(b"k" * 60_000 + b" = 1")
    assert len(caught.value.summary()) < 500


def test_a_profile_has_at_most_64_kibibytes() -> None:
    content = SOUND.encode()
    assert parse_profile(content + b"#" * (PROFILE_MAX_BYTES - len(content))) == parse()
    with pytest.raises(ManifestError, match="at most 65536"):
        parse_profile(content + b"#" * (PROFILE_MAX_BYTES - len(content) + 1))


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
@example(b"a=" + b"[" * 30_000)
@example(b"a=" + b"{a=" * 10_000)
@example(b"[" + b"a." * 10_000 + b"a]")
@example(b"a." * 10_000 + b"a=1")
@example(b"a=" + b"9" * 5000)
@example(b"\xff")
@example(b"cpu = [[[]]]")
@example(b"runtimes = [1, {x = 1}]")
def test_arbitrary_bytes_raise_manifest_error_alone(content: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_profile(content)


VALUES = st.sampled_from(
    [
        "1",
        "-1",
        "0",
        "1.5",
        "nan",
        "-inf",
        "true",
        '""',
        '"x"',
        "[]",
        "[[]]",
        "{}",
        "1979-05-27",
        "07:32:00",
        HUGE,
    ]
)
LINES = SOUND.strip().splitlines()


@given(st.integers(0, len(LINES) - 1), VALUES | st.text(max_size=10))
def test_a_profile_spoiled_anywhere_is_read_or_raises_manifest_error_alone(index: int, value: str) -> None:
    lines = list(LINES)
    key, equals, _ = lines[index].partition("=")
    lines[index] = key + equals + value
    try:
        profile = parse_profile("\n".join(lines).encode("utf-8", "surrogatepass"))
    except ManifestError:
        return
    assert profile.threads <= profile.cpu.cores
