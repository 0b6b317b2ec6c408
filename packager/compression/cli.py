"""``litefleet-packager compress`` and ``distil``: make a float model smaller before it is packed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from contract.errors import AccuracyError, ConfigError
from contract.manifest import Resize
from packager.options import PATH, Assignment, Numbers, fitting_options
from packager.rules import DEFAULT_MIN_SAMPLES


def _samples_options(function: Any) -> Any:
    options = (
        click.option("--evaluation", type=PATH, required=True,
            help="Samples to measure on: for classification a folder <class>/<image>."),
        click.option("--labels", type=PATH, help="Class names, one a line, in the order of the scores."),
        click.option("--mean", type=Numbers(), default="0", show_default=True, help="Input = (pixel - mean) / std."),
        click.option("--std", type=Numbers(), default="255", show_default=True, help="See --mean; above 0."),
        fitting_options,
        click.option(
            "--max-drop", metavar="LOSS", default="0.01", show_default=True,
            help="How much may be lost: 0.01, or 1% of the reference.",
        ),
        click.option("--max-class-drop", metavar="LOSS", help="How much may be lost in any single class."),
        click.option(
            "--class-floor", type=click.FloatRange(0, 1), help="What must be reached in every class."
        ),
        click.option(
            "--confidence", type=click.FloatRange(0.5, 1, min_open=True, max_open=True),
            help="How sure the drop must be within --max-drop; else the measured drop decides.",
        ),
        click.option("--min-samples", type=click.IntRange(min=1), default=DEFAULT_MIN_SAMPLES, show_default=True,
            help="How many evaluation samples there must be."),
        click.option("--cache/--no-cache", default=True, show_default=True, help="Go on where an earlier run stopped."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def _training_options(learning_rate: float) -> Callable[[Any], Any]:
    options = (
        click.option("--learning-rate", type=click.FloatRange(0, 1, min_open=True), default=learning_rate,
            show_default=True, help="Of Adam."),
        click.option("--batch", type=click.IntRange(1, 4096), default=32, show_default=True, help="Samples a step."),
        click.option("--time-limit", type=click.FloatRange(0, 10_000, min_open=True), default=60.0, show_default=True,
            help="Minutes after which training is given up."),
    )  # fmt: skip

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@click.command(
    epilog="Example: litefleet-packager compress digits.tflite --prune 0.5 --cluster 16 --evaluation evaluation "
    "--labels labels.txt --output small.tflite"
)
@click.argument("model", type=PATH)
@click.option(
    "--prune", metavar="SHARE", default="",
    help="Share of every layer's weights to set to 0: 0.5, or auto for the largest that passes.",
)  # fmt: skip
@click.option(
    "--cluster", metavar="COUNT", default="",
    help="How many values the weights of a layer may have: 16, or auto for the fewest that pass.",
)  # fmt: skip
@click.option("--output", type=PATH, required=True, help="The float .tflite file to write, for pack.")
@click.option("--task", default="classification", show_default=True, help="What MODEL is for.")
@click.option(
    "--task-option",
    "task_options",
    type=Assignment(),
    multiple=True,
    help="Option of the task; may be given again.",
)
@_samples_options
@click.option(
    "--fine-tune", type=click.IntRange(1, 10_000), metavar="EPOCHS",
    help="Train a Keras MODEL on under the mask and the clusters; needs --training.",
)  # fmt: skip
@click.option("--training", type=PATH, help="Folder <class>/<image> to train on; none of --evaluation's.")
@_training_options(1e-4)
def compress(
    model: Path,
    prune: str,
    cluster: str,
    output: Path,
    fine_tune: int | None,
    training: Path | None,
    **rest: Any,
) -> None:
    """Prune and cluster the weights of MODEL, measure what that costs, and write it when the gate passes.

    MODEL is a float32 model, as for pack. What is written is a float .tflite file of the same size, whose
    int8 form takes fewer bytes to download where transfers are compressed. See docs/how-to/make-a-model-smaller.md.
    """
    from packager.compression.app import CompressRequest, Tuning
    from packager.compression.app import compress as run_compress
    from packager.compression.plan import parse_wanted
    from packager.compression.report import compression_lines

    if (fine_tune is None) != (training is None):
        raise ConfigError("--fine-tune EPOCHS and --training FOLDER go together")
    tuning = Tuning(training, _course(fine_tune, rest)) if fine_tune and training else None
    request = CompressRequest(_asked(model, rest), parse_wanted(prune, cluster), output, tuning)
    report = _run(run_compress, request)
    _show(report, compression_lines, as_json=rest["as_json"])
    if report.fault:
        raise AccuracyError(
            f"{report.model} is refused and nothing was written",
            faults=(report.fault,),
            remedy="ask for less, fine-tune, or allow a larger --max-drop if the application can bear it",
        )


def _asked(model: Path, rest: dict[str, Any]) -> Any:
    from packager.app import PackRequest
    from packager.cache import default_cache_folder
    from packager.preprocess import Fitting
    from packager.rules import Rules, parse_allowance
    from packager.tasks.kinds import DEFAULT_KIND

    if min(rest["std"]) <= 0:
        raise ConfigError("--std must be above 0")
    worst = rest["max_class_drop"]
    return PackRequest(
        model=model,
        name="",
        version="",
        profiles=(),
        evaluation=rest["evaluation"],
        calibration=None,
        task=rest.get("task", DEFAULT_KIND),
        task_options=dict(rest.get("task_options", ())),
        folder=Path.cwd(),
        labels=rest["labels"],
        baseline=None,
        rules=Rules(
            max_drop=parse_allowance(rest["max_drop"]),
            max_class_drop=parse_allowance(worst) if worst else None,
            class_floor=rest["class_floor"],
            confidence=rest["confidence"],
            min_samples=rest["min_samples"],
        ),
        mean=rest["mean"],
        std=rest["std"],
        fitting=Fitting(
            Resize(rest["resize"]) if rest["resize"] else None, rest["pad"] or 0, bool(rest["bgr"])
        ),
        output=Path(),
        cache=default_cache_folder() if rest["cache"] else None,
    )


def _course(epochs: int, rest: dict[str, Any], **more: Any) -> Any:
    from packager.compression.training import Course

    return Course(
        epochs=epochs,
        learning_rate=rest["learning_rate"],
        batch=rest["batch"],
        time_limit_s=60 * rest["time_limit"],
        **more,
    )


def _run(work: Any, request: Any) -> Any:
    from packager.terminal import step_progress

    with step_progress() as progress:
        return work(request, progress)


def _show(report: Any, lines: Any, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(report), indent=2))
        return
    for line in lines(report):
        click.echo(line)


@click.command(
    epilog="Example: litefleet-packager distil --teacher teacher.keras --student student.keras --training training "
    "--epochs 20 --evaluation evaluation --labels labels.txt --output student-distilled.keras"
)
@click.option("--teacher", type=PATH, required=True, help="Keras model to learn from: .keras or .h5.")
@click.option(
    "--student", type=PATH, required=True, help="Keras model to train: .keras or .h5, as small as you want."
)
@click.option("--training", type=PATH, required=True, help="Folder <class>/<image>; none of --evaluation's.")
@click.option(
    "--epochs", type=click.IntRange(1, 10_000), required=True, help="How often all of --training is seen."
)
@click.option(
    "--temperature", type=click.FloatRange(0, 100, min_open=True), default=4.0, show_default=True,
    help="Softens both models' answers.",
)  # fmt: skip
@click.option(
    "--alpha", type=click.FloatRange(0, 1, min_open=True), default=0.7, show_default=True,
    help="How much the teacher counts; the rest is the true classes'.",
)  # fmt: skip
@click.option(
    "--control/--no-control", default=True, show_default=True,
    help="Also train the student without the teacher, and hold the distilled one against it.",
)  # fmt: skip
@click.option("--output", type=PATH, required=True, help="The .keras file to write, for compress and pack.")
@_training_options(1e-3)
@_samples_options
def distil(
    teacher: Path,
    student: Path,
    training: Path,
    epochs: int,
    temperature: float,
    alpha: float,
    output: Path,
    *,
    control: bool,
    **rest: Any,
) -> None:
    """Train STUDENT to answer as TEACHER, measure both, and write it when the teacher was no loss.

    Both are image classifiers with the same input and classes. The gate: not worse than the student without the
    teacher, by more than --max-drop. The drop against the teacher is told.
    """
    from packager.compression.distillation import DistilRequest
    from packager.compression.distillation import distil as run_distil
    from packager.compression.report import distillation_lines

    course = _course(epochs, rest, temperature=temperature, alpha=alpha)
    request = DistilRequest(_asked(student, rest), teacher, training, course, output, control)
    report = _run(run_distil, request)
    _show(report, distillation_lines, as_json=rest["as_json"])
    if report.fault:
        raise AccuracyError(
            f"{report.student} is refused and nothing was written",
            faults=(report.fault,),
            remedy="train longer, try another --temperature and --alpha, or train it without the teacher",
        )
