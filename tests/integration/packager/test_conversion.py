"""Environments and conversions with real processes, real installers and a tiny converter; no framework, no network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import ConfigError, ManifestError, StorageError
from packager.sources.cache import cache_folder, locked
from packager.sources.conversion import Conversion, convert
from packager.sources.environment import prepare
from packager.sources.interpreters import find_python
from packager.sources.load import check_on_calibration, load_source
from packager.sources.tflite import check_tflite
from tests.support.packager_builders import DIGITS
from tests.support.packager_conversion import Ear, converter, write_archive, write_wheel
from tests.support.packager_models import digits_model

ROOT = Path(__file__).resolve().parents[3]
HERE = (sys.version_info[0], sys.version_info[1])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "litefleet"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installers see this folder alone."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "digits.strange"
    path.write_bytes(digits_model())
    return path


def started(cache: Path) -> list[str]:
    return (cache / "conversions" / "started").read_text(encoding="utf-8").split()


# Environments.


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_an_environment_is_announced_made_from_its_lock_and_used_again(
    wheels: Path, cache: Path, installer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if installer == "pip":
        monkeypatch.setenv("PATH", str(tmp_path))
    lock = write_wheel(wheels)
    write_wheel(wheels, "unpinned", "2.0")
    wanted = converter(lock=lock, unlocked=("unpinned==2.0",), own_packages=(), pythons=(HERE,), size="12 MB")
    ear = Ear()
    made = prepare(wanted, ear.tell)
    first, second = ear.lines
    assert "making an environment for Pretender" in first
    assert "12 MB" in first
    assert second.startswith("made the environment for Pretender: ")
    assert made.python == cache / "converters" / wanted.folder_name / "bin" / "python"
    subprocess.run([made.python, *made.flags, "-c", "import pretender, unpinned"], check=True, timeout=60)
    again = Ear()
    assert prepare(wanted, again.tell) == made
    assert again.lines == []


def test_a_half_made_environment_is_not_used_but_made_again(wheels: Path, cache: Path) -> None:
    wanted = converter(lock=write_wheel(wheels), own_packages=(), pythons=(HERE,))
    half = cache / "converters" / wanted.folder_name / "bin" / "python"
    half.parent.mkdir(parents=True)
    half.write_text("half", encoding="utf-8")
    made = prepare(wanted, Ear().tell)
    subprocess.run([made.python, *made.flags, "-c", "import pretender"], check=True, timeout=60)


def test_a_package_with_another_hash_is_not_installed(wheels: Path, cache: Path) -> None:
    lock = write_wheel(wheels).replace("sha256:", "sha256:0000")[:-5] + "\n"
    wanted = converter(lock=lock, own_packages=(), pythons=(HERE,))
    with pytest.raises(
        ConfigError, match=r"the environment for Pretender cannot be made: .*whole log: "
    ) as refused:
        prepare(wanted, Ear().tell)
    assert "index" in refused.value.remedy
    assert not (cache / "converters" / wanted.folder_name / "litefleet-ready").exists()


def test_without_tensorflow_and_index_the_error_says_how_to_install_the_extra_and_its_size(
    wheels: Path,
) -> None:
    wanted = converter(
        lock="absent==1.0 --hash=sha256:" + "0" * 64 + "\n",
        own_packages=("absent_package",),
        pythons=(HERE,),
        size="2 GB",
        extra="keras",
    )
    with pytest.raises(ConfigError) as refused:
        prepare(wanted, Ear().tell)
    assert "pip install 'litefleet[keras]' (2 GB)" in refused.value.remedy


def test_two_packers_at_once_make_one_environment(wheels: Path) -> None:
    wanted = converter(lock=write_wheel(wheels), own_packages=(), pythons=(HERE,))
    ears = Ear(), Ear()
    threads = [threading.Thread(target=prepare, args=(wanted, ear.tell)) for ear in ears]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    lines = [line for ear in ears for line in ear.lines]
    assert len([line for line in lines if line.startswith("making")]) == 1
    assert len([line for line in lines if line.startswith("waiting for another packer")]) == 1


def test_a_lock_that_is_never_freed_is_given_up(cache: Path) -> None:
    path = cache_folder("converters") / "x.lock"
    with locked(path, 1, lambda: None), pytest.raises(StorageError, match="another process has held"):  # noqa: SIM117
        with locked(path, 0.1, lambda: None):
            pass


def test_what_is_installed_beside_litefleet_needs_no_environment(cache: Path) -> None:
    found = prepare(converter(own_packages=("numpy", "msgspec")), Ear().tell)
    assert found.python == Path(sys.executable)
    assert f"numpy=={np.__version__}" in found.digest
    assert not (cache / "converters").exists()


def test_a_python_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"onnx2tf needs Python 3\.99, and none") as refused:
        find_python(((3, 99),), "onnx2tf")
    assert "install Python 3.99" in refused.value.remedy


def test_a_program_that_only_has_the_name_of_a_python_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretender = tmp_path / "python3.98"
    pretender.write_text("#!/bin/sh\necho 3.97\n", encoding="utf-8")
    pretender.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    with pytest.raises(ConfigError):
        find_python(((3, 98),), "onnx2tf")


# Conversions.


def test_a_model_that_agrees_with_its_source_is_taken_and_kept(source: Path, cache: Path) -> None:
    conversion = convert(source, converter(), Ear())
    assert conversion.content == digits_model()
    assert conversion.answer.tools == {"pretender": "1.0"}
    assert conversion.describe().startswith(
        "converted with pretender 1.0; input image (1, 1, 8, 8) channels first, now (1, 8, 8, 1) channels last; "
        "output probabilities (1, 10): largest difference "
    )
    assert convert(source, converter(), Ear()).content == conversion.content
    assert started(cache) == ["convert"]
    assert not list((cache / "conversions").glob(".making-*"))


def test_a_kept_result_that_the_disk_spoiled_is_made_again(source: Path, cache: Path) -> None:
    convert(source, converter(), Ear())
    (kept,) = (cache / "conversions").glob("*/model.tflite")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert convert(source, converter(), Ear()).content == digits_model()
    assert started(cache) == ["convert", "convert"]


def test_a_changed_source_is_converted_anew(source: Path, cache: Path) -> None:
    convert(source, converter(), Ear())
    source.write_bytes(digits_model("1.1.0"))
    assert convert(source, converter(), Ear()).content == digits_model("1.1.0")
    assert started(cache) == ["convert", "convert"]


@pytest.mark.parametrize(
    ("behaviour", "wanted"),
    [
        ("refuses", "cannot be converted with Pretender: operator Frobnicate is not known"),
        ("leaves", "cannot be converted with Pretender: ERROR: out of cheese"),
        ("crashes", r"cannot be converted with Pretender: it crashed \(signal 11\)"),
        ("damages", "was converted, but the result does not run: LiteRT does not run the converted model"),
        ("lies", "was converted, but answers otherwise than before"),
    ],
)
def test_what_a_converter_cannot_do_right_is_refused_in_one_line(
    source: Path, behaviour: str, wanted: str, cache: Path
) -> None:
    with pytest.raises(ManifestError, match=wanted) as refused:
        convert(source, converter(behaviour), Ear())
    assert "\n" not in refused.value.summary()
    if behaviour == "lies":
        (fault,) = refused.value.faults
        assert "largest difference" in fault
        assert "at most 0.001 is accepted" in fault
    elif behaviour != "damages":
        log = Path(refused.value.remedy.removeprefix("the whole log is "))
        assert log.is_file()
    assert not list((cache / "conversions").glob(".making-*"))


def test_a_converter_that_hangs_is_ended(source: Path) -> None:
    with pytest.raises(ManifestError, match="it was not done within 3 s"):
        convert(source, converter("hangs", timeout_s=3.0), Ear())


def test_interrupted_by_the_user_the_converter_ends_too_and_leaves_nothing(source: Path, cache: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from packager.sources.conversion import Conversion, convert; "
        "from tests.support.packager_conversion import Ear, converter; "
        "convert(Path(sys.argv[1]), converter('hangs'), Ear())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, source], cwd=ROOT, stderr=subprocess.PIPE
    ) as process:
        pid = int(wait_for_text(cache / "conversions" / "pid"))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode != 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not list((cache / "conversions").glob(".making-*"))


def wait_for_text(path: Path) -> str:
    deadline = time.monotonic() + 30
    while not (path.is_file() and path.read_text(encoding="utf-8")):
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.02)
    return path.read_text(encoding="utf-8")


def test_a_relative_cache_folder_is_ignored_as_the_specification_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("logs") == tmp_path / ".cache" / "litefleet" / "logs"


def ones(conversion: Conversion) -> dict[str, Any]:
    return {conversion.answer.inputs[0].name: np.ones((3, 8, 8, 1), dtype=np.float32)}


def test_real_inputs_are_compared_too(source: Path, cache: Path) -> None:
    conversion = convert(source, converter(), Ear())
    images = np.random.default_rng(2).random((40, 8, 8, 1)).astype(np.float32)
    checked = conversion.check_on({conversion.answer.inputs[0].name: images}, Ear())
    assert [one.samples for one in checked.agreement] == [4, 16]
    assert started(cache) == ["convert", "answer"]


def test_a_model_that_fails_on_real_inputs_alone_is_refused(source: Path) -> None:
    conversion = convert(source, converter("lies-later"), Ear())
    with pytest.raises(ManifestError, match="answers otherwise than before"):
        conversion.check_on(ones(conversion), Ear())


def test_a_source_that_changed_meanwhile_is_refused(source: Path) -> None:
    conversion = convert(source, converter(), Ear())
    source.write_bytes(digits_model("1.1.0"))
    with pytest.raises(ManifestError, match="was changed while it was packed"):
        conversion.check_on(ones(conversion), Ear())


# What is decided before any converter starts.


def test_a_tflite_file_starts_no_converter(cache: Path) -> None:
    model = load_source(DIGITS / "digits-1.0.0.tflite", Ear())
    assert model.conversion is None
    assert model.tools == {}
    assert check_on_calibration(model, [np.ones((1, 8, 8, 1), dtype=np.float32)], Ear()) is model
    assert not cache.exists()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("model.keras", "damaged, or no such model"), ("model.pt2", "damaged, or no such model")],
)
def test_a_file_that_is_no_archive_is_refused_before_an_environment_is_made(
    tmp_path: Path, cache: Path, name: str, wanted: str
) -> None:
    (tmp_path / name).write_bytes(b"<html>not found</html>")
    with pytest.raises(ManifestError, match=wanted):
        load_source(tmp_path / name, Ear())
    assert not (cache / "converters").exists()


def test_a_keras_file_with_a_lambda_layer_is_refused_before_an_environment_is_made(
    tmp_path: Path, cache: Path
) -> None:
    config = {"class_name": "Lambda", "config": {"name": "double"}}
    path = write_archive(tmp_path / "model.keras", {"config.json": config})
    with pytest.raises(ManifestError, match="may execute code, and is not loaded") as refused:
        load_source(path, Ear())
    assert refused.value.faults == ("Lambda double carries code",)
    assert not (cache / "converters").exists()


def test_a_converted_model_is_checked_as_any_other(source: Path) -> None:
    conversion = convert(source, converter(), Ear())
    assert check_tflite(conversion.content, source.name).source.inputs[0].shape == (1, 8, 8, 1)
