"""Versions that take other shapes or store other types: a client that sends logical inputs never notices a switch."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract.manifest import Color, ImagePreprocessing
from contract.profile import Precision
from contract.tensor import DType, TensorSpec
from edge_agent import connect
from edge_agent.inference.pool import Crash, Pool
from edge_agent.inference.runtime import Graph, find_runtime
from edge_agent.inference.slot import load_slot
from tests.support.gateway import a_gateway
from tests.support.inference_slots import (
    DIGITS,
    a_slot,
    images_of,
    serve,
    slot_of,
    tensor_of,
    wait_until,
)
from tests.support.logical_clients import AsyncClient, HttpClient, LogicalClient, SyncClient
from tests.support.packager_rgb import large_rgb_digits

INT8, FLOAT, LARGE = "1.0.0", "2.0.0", "3.0.0"
"""(1, 8, 8, 1) stored as int8; the same stored as float32; (1, 32, 32, 3) float32."""
SWITCHES = 4
LEAST = 20
"""Answers of each kind, to each client, from each version that became active."""


@pytest.fixture
def slots(tmp_path: Path) -> dict[str, Path]:
    """A slot of each version."""
    as_float = {"name": "float32", "precision": Precision.FLOAT32}
    small = (DIGITS / "digits-1.0.0.tflite").read_bytes()
    colours = ImagePreprocessing(
        width=32, height=32, color=Color.RGB, mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)
    )
    return {
        INT8: slot_of(INT8),
        FLOAT: a_slot(tmp_path / "float", version=FLOAT, content=small, variant=as_float),
        LARGE: a_slot(
            tmp_path / "large",
            version=LARGE,
            content=large_rgb_digits(),
            variant=as_float,
            inputs=(TensorSpec(name="image", shape=(1, 32, 32, 3), dtype=DType.FLOAT32),),
            preprocessing=colours,
        ),
    }


def stored_input(slot: Path) -> tuple[tuple[int, ...], str]:
    """Shape and type of the input in a slot's model file."""
    loaded = load_slot(slot)
    (border,) = Graph(find_runtime(), loaded.model_path(), loaded.variant, 1).inputs
    return border.shape, border.dtype.name


def png_of(image: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def images() -> dict[tuple[str, str], Any]:
    """An image of each digit as pixels of one size, of another size and in colour."""
    found: dict[tuple[str, str], Any] = {}
    for digit in range(10):
        (image,) = images_of(digit)
        found[str(digit), "gray"] = image
        found[str(digit), "large"] = np.repeat(np.repeat(image, 3, axis=0), 3, axis=1)
        found[str(digit), "colour"] = np.repeat(image[:, :, np.newaxis], 3, axis=2)
    return found


def files() -> dict[tuple[str, str], Any]:
    """An image of each digit as a PNG file."""
    return {(str(digit), "file"): png_of(images_of(digit)[0]) for digit in range(10)}


def tensors() -> dict[tuple[str, str], Any]:
    """The real values of each digit."""
    return {(str(digit), "float32"): tensor_of(images_of(digit)[0]) for digit in range(10)}


def longer_tensors() -> dict[tuple[str, str], Any]:
    """The same as float64, and as lists of Python's numbers."""
    found: dict[tuple[str, str], Any] = {}
    for (digit, _), tensor in tensors().items():
        found[digit, "float64"] = tensor.astype(np.float64)
        found[digit, "list"] = tensor.tolist()
    return found


@contextlib.contextmanager
def clients(
    run_dir: Path, plain: Mapping[tuple[str, str], Any], more: Mapping[tuple[str, str], Any]
) -> Iterator[list[LogicalClient]]:
    """One application of each kind; ``more`` are questions that only the SDKs have words for."""
    with a_gateway(run_dir) as gateway, contextlib.ExitStack() as stack:
        both = {**plain, **more}
        made: list[LogicalClient] = [
            SyncClient(both, run_dir),
            AsyncClient(both, run_dir),
            HttpClient(plain, gateway.port),
        ]
        for client in made:
            stack.enter_context(client)
        yield made


def switch_under(asking: list[LogicalClient], pool: Pool, slots: Mapping[str, Path], *turns: str) -> None:
    """Switch back and forth while clients ask; each hears of every version before the next comes."""
    for number in range(SWITCHES):
        version = turns[number % len(turns)]
        before = [client.seen.copy() for client in asking]
        serve(pool, version, slots[version])
        for client, known in zip(asking, before, strict=True):
            least = LEAST + max(known[version, kind] for _, kind in client.feeds)
            heard = functools.partial(client.has_heard, version, least)
            wait_until(heard, f"{least} answers of {version} to {client}")
            assert client.error is None, client.error


def check(asking: list[LogicalClient], crashes: list[Crash], *versions: str) -> None:
    """Every question was answered rightly, and by each version."""
    for client in asking:
        assert client.error is None
        assert client.wrong == []
        assert {version for version, _ in client.seen} == set(versions)
    assert crashes == []


def test_clients_that_send_images_do_not_notice_that_versions_take_other_shapes(
    pool_and_crashes: tuple[Pool, list[Crash]], run_dir: Path, slots: dict[str, Path]
) -> None:
    pool, crashes = pool_and_crashes
    assert stored_input(slots[INT8]) == ((1, 8, 8, 1), "int8")
    assert stored_input(slots[LARGE]) == ((1, 32, 32, 3), "float32")
    serve(pool, INT8, slots[INT8])
    with clients(run_dir, images(), files()) as asking:
        switch_under(asking, pool, slots, LARGE, INT8)
        with connect(run_dir).model("digits") as model:
            assert model.describe().inputs[0].shape == (1, 8, 8, 1)
        serve(pool, LARGE, slots[LARGE])
        with connect(run_dir).model("digits") as model:
            assert model.describe().inputs[0].shape == (1, 32, 32, 3)
    check(asking, crashes, INT8, LARGE)


def test_clients_that_send_images_or_real_values_do_not_notice_that_versions_store_other_types(
    pool_and_crashes: tuple[Pool, list[Crash]], run_dir: Path, slots: dict[str, Path]
) -> None:
    pool, crashes = pool_and_crashes
    assert stored_input(slots[INT8]) == ((1, 8, 8, 1), "int8")
    assert stored_input(slots[FLOAT]) == ((1, 8, 8, 1), "float32")
    serve(pool, INT8, slots[INT8])
    plain, more = {**images(), **tensors()}, {**files(), **longer_tensors()}
    with clients(run_dir, plain, more) as asking:
        switch_under(asking, pool, slots, FLOAT, INT8)
    check(asking, crashes, INT8, FLOAT)
