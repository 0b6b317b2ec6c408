"""Compressing the digits model: real weights, LiteRT and images; no training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from contract.bundle import BundleReader
from contract.errors import ConfigError, ManifestError
from contract.profile import Precision
from packager.app import PackRequest, pack
from packager.cli import main
from packager.compression.app import CompressRequest, Tuning, compress
from packager.compression.plan import Compression, Wanted
from packager.compression.report import CompressionReport, compression_lines
from packager.compression.rewrite import compress_model
from packager.compression.training import Course
from packager.quantize import calibrate, quantize
from packager.report import PackResult, pack_json, rung_rows
from packager.rules import Allowance, Rules
from packager.runtime.objects import pack_model, unpack_model
from packager.sources.tflite import check_tflite, load_tflite
from tests.support.packager_builders import DIGITS, Silent, digits_calibration, profile
from tests.support.packager_models import changed_model, digits_model

MODEL = DIGITS / "digits-1.0.0.tflite"
IMAGES = ["--evaluation", str(DIGITS / "evaluation"), "--labels", str(DIGITS / "labels.txt")]


def request(folder: Path, **changes: Any) -> CompressRequest:
    rules = changes.pop("rules", Rules())
    asked = PackRequest(
        model=changes.pop("model", MODEL),
        name="",
        version="",
        profiles=(),
        evaluation=DIGITS / "evaluation",
        calibration=None,
        labels=DIGITS / "labels.txt",
        baseline=None,
        rules=rules,
        mean=(0.0,),
        std=(255.0,),
        output=folder,
        cache=folder / "cache",
    )
    sound = CompressRequest(asked, Wanted(0.5, 16), folder / "small.tflite")
    return dataclasses.replace(sound, **changes)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["compress", *arguments])


def kept(asked: CompressRequest) -> list[str]:
    """What is in the cache."""
    assert asked.asked.cache is not None
    return sorted(path.name for path in asked.asked.cache.glob("*.stage"))


def weights_of(content: bytes, numpy_type: str) -> list[Any]:
    """(channels, ...) of every large weight tensor."""
    model = unpack_model(content)
    graph = model.subgraphs[0]
    found = []
    for tensor in graph.tensors:
        data = model.buffers[tensor.buffer].data
        if data is not None and np.prod(tensor.shape) >= 1024:
            found.append(data.view(numpy_type).reshape(tensor.shape))
    return found


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> tuple[CompressRequest, CompressionReport]:
    asked = request(tmp_path_factory.mktemp("compressed"))
    return asked, compress(asked, Silent())


def test_half_the_weights_and_sixteen_clusters_pass_the_gate_and_halve_what_travels(
    compressed: tuple[CompressRequest, CompressionReport],
) -> None:
    asked, report = compressed
    assert report.fault == ""
    assert report.before == pytest.approx(0.998)
    assert report.after is not None
    assert report.after >= 0.988
    assert asked.output.read_bytes()[4:8] == b"TFL3"
    assert [layer.zeros * 2 for layer in report.layers] == [layer.elements for layer in report.layers]
    rows = {row.form: row for row in report.downloads}
    assert set(rows) == {"float32", "dynamic-int8"}
    for row in rows.values():
        assert row.after.plain_bytes == pytest.approx(row.before.plain_bytes, rel=0.001)
    assert rows["float32"].after.zlib_bytes < 0.25 * rows["float32"].before.zlib_bytes
    assert rows["dynamic-int8"].after.zlib_bytes < 0.55 * rows["dynamic-int8"].before.zlib_bytes
    assert rows["dynamic-int8"].after.lzma_bytes < 0.55 * rows["dynamic-int8"].before.lzma_bytes
    assert any("wrote" in line for line in compression_lines(report))


def test_zeros_and_clusters_survive_static_int8(
    compressed: tuple[CompressRequest, CompressionReport],
) -> None:
    model = load_tflite(compressed[0].output)
    images = digits_calibration()
    inputs = images.inputs(range(len(images)))
    made = quantize(
        model.content,
        Precision.STATIC_INT8,
        calibrate(model.content, Precision.STATIC_INT8, model.source, inputs),
    )
    floats, integers = weights_of(model.content, "<f4"), weights_of(made, "i1")
    assert len(floats) == len(integers) == 4
    for before, after in zip(floats, integers, strict=True):
        assert (after[before == 0] == 0).all()
        assert int((after == 0).sum()) * 2 == after.size
        assert len(np.unique(after)) <= 16
        assert (
            len(np.unique(before)) > 100
        )  # one value a cluster and channel: what plain clusters would not leave


def test_the_same_model_gives_the_same_bytes_and_a_rerun_measures_nothing(
    compressed: tuple[CompressRequest, CompressionReport],
) -> None:
    asked, report = compressed
    first, before = asked.output.read_bytes(), kept(asked)
    assert len(before) == 4  # two measured, two quantized
    assert compress(asked, Silent()) == report
    assert asked.output.read_bytes() == first
    assert kept(asked) == before


def test_too_much_is_refused_with_its_measured_loss_and_nothing_is_written(tmp_path: Path) -> None:
    output = tmp_path / "small.tflite"
    done = run(str(MODEL), "--prune", "0.9", *IMAGES, "--output", str(output), "--no-cache", "--json")
    assert done.exit_code == 1
    assert "is refused and nothing was written: accuracy 0." in done.stderr
    assert not output.exists()
    report = json.loads(done.stdout)
    assert report["after"] < 0.9
    assert report["fault"].startswith("accuracy 0.")
    assert report["output"] == ""


def test_auto_finds_the_largest_share_and_then_the_fewest_clusters_that_pass(tmp_path: Path) -> None:
    report = compress(request(tmp_path, wanted=Wanted(None, None)), Silent())
    assert report.fault == ""
    passing = [one for one in report.tried if not one.fault]
    refused = [one for one in report.tried if one.fault]
    assert len(report.tried) <= 5 + 4
    assert refused
    assert report.what == passing[-1].what
    assert 0.5 <= report.prune < 0.9
    assert 0 < report.clusters < 16
    assert (tmp_path / "small.tflite").is_file()


@pytest.mark.parametrize("wanted", [Wanted(None, 4), Wanted(0.95, None)])
def test_auto_that_finds_nothing_is_refused(tmp_path: Path, wanted: Wanted) -> None:
    report = compress(request(tmp_path, wanted=wanted, rules=Rules(max_drop=Allowance(0.0))), Silent())
    assert report.fault.startswith("no setting passes: ")
    assert report.after is None
    assert not (tmp_path / "small.tflite").exists()
    assert len(list(compression_lines(report))) == 1 + len(report.tried)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"wanted": Wanted()}, "nothing to do"),
        ({"output": Path("small.bin")}, "does not end in .tflite"),
        ({"output": Path("nowhere/small.tflite")}, "there is no folder"),
        ({"wanted": Wanted(None), "tuning": Tuning(DIGITS, Course(1))}, "auto would train once"),
        ({"tuning": Tuning(DIGITS / "calibration", Course(1))}, "is no Keras file"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(
    tmp_path: Path, changes: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(ConfigError, match=wanted):
        compress(request(tmp_path, **changes), Silent())


def test_training_on_evaluation_samples_is_refused(tmp_path: Path) -> None:
    tuning = Tuning(DIGITS / "evaluation", Course(1))
    with pytest.raises(ManifestError, match="500 evaluation samples are training samples too"):
        compress(request(tmp_path, tuning=tuning), Silent())


def test_fine_tuning_needs_samples_and_samples_fine_tuning(tmp_path: Path) -> None:
    for option in (["--fine-tune", "1"], ["--training", str(DIGITS / "calibration")]):
        done = run(str(MODEL), "--prune", "0.5", *option, *IMAGES, "--output", str(tmp_path / "a.tflite"))
        assert done.exit_code == 2
        assert "go together" in done.stderr


# What is touched


def test_a_model_without_large_layers_is_refused() -> None:
    def shrink(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None and len(data) >= 4096:
                tensor.type = 6  # string: as good as any type that is no float32

    with pytest.raises(ManifestError, match="no layer has 1024 weights"):
        compress_model(changed_model(shrink), Compression(0.5))


def test_weights_that_are_no_numbers_are_refused() -> None:
    def spoil(model: Any) -> None:
        for buffer in model.buffers:
            if buffer.data is not None and len(buffer.data) > 4096:
                buffer.data = np.full(len(buffer.data) // 4, np.nan, dtype="<f4").view(np.uint8)

    with pytest.raises(ManifestError, match="hold NaN or infinity"):
        compress_model(changed_model(spoil), Compression(0.5))


def test_weights_that_something_else_reads_and_left_out_biases_are_let_be() -> None:
    def share(model: Any) -> None:
        graph = model.subgraphs[0]
        convolutions = [one for one in graph.operators if len(one.inputs) == 3]
        graph.outputs = np.array([*graph.outputs, convolutions[1].inputs[1]], dtype=np.int32)
        convolutions[2].inputs = np.array([*convolutions[2].inputs[:2], -1], dtype=np.int32)

    _, layers = compress_model(changed_model(share), Compression(0.5))
    assert len(layers) == 3
    assert len(compress_model(digits_model(), Compression(0.5))[1]) == 4


def test_nothing_but_the_touched_weights_changes() -> None:
    before = digits_model()
    made, layers = compress_model(before, Compression(0.5, 16))
    names = {layer.name for layer in layers}
    left, right = unpack_model(before), unpack_model(made)
    for graph, other in zip(left.subgraphs, right.subgraphs, strict=True):
        for one, two in zip(graph.tensors, other.tensors, strict=True):
            old, new = left.buffers[one.buffer], right.buffers[two.buffer]
            is_same = np.array_equal(old.data, new.data)
            assert is_same == (one.name.decode() not in names)
            old.data = new.data
    assert pack_model(left) == pack_model(right)
    assert check_tflite(made, "made").source == check_tflite(before, "before").source


# Packing


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackResult:
    folder = tmp_path_factory.mktemp("packed")
    asked = dataclasses.replace(
        request(folder).asked,
        name="digits",
        version="1.0.0",
        profiles=(profile(ladder=(Precision.STATIC_INT8, Precision.FLOAT32)),),
        calibration=DIGITS / "calibration",
        output=folder / "dist",
        compression=Compression(0.5, 16),
    )
    return pack(asked, Silent())


def test_rungs_are_made_of_the_compressed_model_and_judged_against_the_model_as_given(
    packed: PackResult,
) -> None:
    assert packed.faults == ()
    assert packed.reference.float_value == pytest.approx(0.998)
    rows = {row.variant: row for row in rung_rows(packed)}
    assert rows["float32"].drop is not None
    assert rows["float32"].drop > 0  # the compressed float model is not its own reference
    assert rows["static-int8"].verdict == "shipped"
    with BundleReader(packed.bundles[0]) as reader:
        manifest = reader.manifest
        variants = {one.name: reader.read_artifact(one.artifact.sha256) for one in manifest.variants}
    assert manifest.provenance is not None
    assert manifest.provenance.normalized[-1] == "50% of the weights pruned, weights in 16 clusters"
    assert manifest.variants[0].metrics.float_value == pytest.approx(0.998)
    for weights in weights_of(variants["static-int8"], "i1"):
        assert len(np.unique(weights)) <= 16
        assert int((weights == 0).sum()) * 2 == weights.size


def test_packing_tells_what_every_variant_takes_to_download(packed: PackResult) -> None:
    rows = {row.form: row for row in packed.downloads}
    assert set(rows) == {"static-int8", "float32"}
    assert rows["static-int8"].after.zlib_bytes < 0.55 * rows["static-int8"].before.zlib_bytes
    assert json.loads(json.dumps(pack_json(packed)))["downloads"][0]["form"] == "static-int8"


def test_a_compression_that_costs_too_much_is_refused_although_rungs_keep_up_with_it(tmp_path: Path) -> None:
    asked = dataclasses.replace(
        request(tmp_path).asked,
        name="digits",
        version="1.0.0",
        profiles=(profile(ladder=(Precision.FLOAT32,)),),
        compression=Compression(0.9),
    )
    result = pack(asked, Silent())
    assert result.bundles == ()
    assert "at least 0.9880 (0.9980 of the float model less 0.01) is needed" in result.faults[0]
