"""``litefleet-packager``: make keys, pack a model, look into a model or a bundle, publish.

Exit codes: 0 done, 1 refused, 2 wrong usage or configuration. What a command needs is imported when it runs, so
that ``--help`` is quick.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from contract.commands import LitefleetGroup
from contract.documents import PROVENANCE_MEMBER, SBOM_MEMBER
from contract.errors import AccuracyError, ConfigError
from contract.manifest import Resize
from packager.comparison.cli import compare
from packager.compression.cli import compress, distil
from packager.options import PATH, Assignment, Numbers, fitting_options, keys_option, token_option
from packager.rules import DEFAULT_MIN_SAMPLES, DEFAULT_RECOVERY_TRIALS
from packager.settings import SERVER_ENV, read_token

_DELEGATES = ("xnnpack", "edgetpu")


@click.group(cls=LitefleetGroup)
@click.version_option(package_name="litefleet")
def main() -> None:
    """Quantize, gate, bundle, sign and publish TFLite models."""


@main.command(
    epilog="Example: litefleet-packager pack digits.tflite --name digits --version 1.0.0 "
    "--profile raspberry-pi-4 --calibration calibration --evaluation evaluation --labels labels.txt"
)
@click.argument("model", required=False)
@click.option("--name", help="Name of the model, for example digits.")
@click.option("--version", help="SemVer version of the release, for example 1.0.0.")
@click.option("--profile", "profiles", multiple=True, help="Board to pack for; may be given again.")
@click.option("--task", help="What MODEL is for.  [default: classification]")
@click.option(
    "--task-option",
    "task_options",
    type=Assignment(),
    multiple=True,
    help="Option of the task; may be given again.",
)
@click.option("--evaluation", help="Samples to measure on: for classification a folder <class>/<image>.")
@click.option("--calibration", help="Samples that static int8 learns its ranges from.")
@click.option("--labels", help="Class names, one a line, in the order of the scores.")
@click.option("--baseline", help="Bundle of an earlier release that this one must not fall behind.")
@click.option("--mean", type=Numbers(), help="Input = (pixel - mean) / std.  [default: 0]")
@click.option("--std", type=Numbers(), help="See --mean; above 0.  [default: 255]")
@fitting_options
@click.option("--output", help="Folder for the bundles.  [default: dist]")
@click.option(
    "--max-drop", metavar="LOSS",
    help="How much a variant may lose: 0.01, or 1% of the reference.  [default: 0.01]",
)  # fmt: skip
@click.option("--max-class-drop", metavar="LOSS", help="How much it may lose in any single class.")
@click.option("--class-floor", type=click.FloatRange(0, 1), help="What a variant must reach in every class.")
@click.option(
    "--confidence", type=float,
    help="How sure the drop must be within --max-drop, for example 0.95; else the measured drop decides.",
)  # fmt: skip
@click.option(
    "--min-samples", type=click.IntRange(min=1),
    help=f"How many evaluation samples there must be.  [default: {DEFAULT_MIN_SAMPLES}]",
)  # fmt: skip
@click.option(
    "--recovery-trials", type=click.IntRange(0, 100),
    help="How often a failing variant is tried again with more operators in float.  "
    f"[default: {DEFAULT_RECOVERY_TRIALS}]",
)  # fmt: skip
@click.option(
    "--prune", type=click.FloatRange(0, 1, max_open=True), metavar="SHARE",
    help="Share of every layer's weights to set to 0 first; see compress.",
)  # fmt: skip
@click.option(
    "--cluster", type=click.IntRange(0, 255), metavar="COUNT",
    help="How many values the weights of a layer may have; see compress.",
)  # fmt: skip
@click.option(
    "--cache/--no-cache", default=None, help="Go on where an earlier run stopped.  [default: cache]"
)
@click.option(
    "--project", type=PATH, help="Project file.  [default: the nearest litefleet.toml up the folders]"
)
@click.option(
    "--report/--no-report", default=None,
    help="Write the report, a page and JSON, beside the bundles.  [default: report]",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Read and check everything, print the plan, make nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def pack(project: Path | None, *, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Quantize MODEL, measure every variant, and write one bundle per profile.

    MODEL is a float32 model: a .tflite, .keras, .h5, .onnx or .pt2 file, or a SavedModel folder. --task says what it
    is for, how the samples are read and what is measured. Every rung of a profile's ladder is made and measured; those
    that lose no more than --max-drop go into the bundle. When none passes for some profile, no bundle is
    written. A report, as a page and as JSON, is written either way.
    Whatever is not given here is taken from litefleet.toml.
    """
    from packager.request import pack_request

    request = pack_request(project, flags, _echo_aside)
    if dry_run:
        _show_plan(request, as_json=as_json)
        return
    from packager.app import pack as run_pack
    from packager.report import pack_json
    from packager.terminal import show_pack, step_progress

    with step_progress() as progress:
        result = run_pack(request, progress)
    if as_json:
        click.echo(json.dumps(pack_json(result), indent=2))
    else:
        show_pack(result)
    if result.faults:
        raise AccuracyError(
            f"{result.name} {result.version} is refused and no bundle was written, because no variant passes",
            faults=result.faults,
            remedy="train on, or allow a larger --max-drop if the application can bear it"
            + (f"; {result.reports[0]} says more" if result.reports else ""),
        )


def _show_plan(request: Any, *, as_json: bool) -> None:
    from packager.app import prepare
    from packager.preview import preview
    from packager.terminal import show_preview, step_progress

    with step_progress() as progress:
        found = preview(prepare(request, progress), request.rules)
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(found), indent=2))
    else:
        show_preview(found)


main.add_command(compress)
main.add_command(distil)


@main.command(epilog="Example: litefleet-packager inspect dist/digits-1.0.0-raspberry-pi-4.bundle")
@click.argument("bundle", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
@click.option("--sbom", is_flag=True, help="Print the bill of materials, CycloneDX 1.6.")
@click.option("--provenance", is_flag=True, help="Print the provenance, SLSA 1.0 in an in-toto statement.")
def inspect(bundle: Path, *, as_json: bool, sbom: bool, provenance: bool) -> None:
    """Check BUNDLE whole and show what it holds."""
    from packager.inspection import inspect_models, read_document
    from packager.report import manifest_json

    if as_json + sbom + provenance > 1:
        raise ConfigError(
            "--json, --sbom and --provenance print one document each", remedy="give one of them"
        )
    found = inspect_models(bundle)
    if as_json:
        click.echo(json.dumps(manifest_json(found.manifest), indent=2))
        return
    if sbom or provenance:
        click.echo(read_document(bundle, SBOM_MEMBER if sbom else PROVENANCE_MEMBER), nl=False)
        return
    from packager.inspection_text import record_rows
    from packager.terminal import show_manifest

    show_manifest(found.manifest, record_rows(found.manifest, found.told))


@main.command(epilog="Example: litefleet-packager coverage model.tflite --delegate xnnpack --measure")
@click.argument("model", type=PATH)
@click.option(
    "--delegate", "delegates", type=click.Choice(_DELEGATES), multiple=True,
    help="Delegate to predict for; may be given again; all when left out.",
)  # fmt: skip
@click.option(
    "--edgetpu-runtime", type=click.IntRange(10, 14), default=14, show_default=True,
    help="Edge TPU runtime version of the board.",
)  # fmt: skip
@click.option("--measure", is_flag=True, help="Also load MODEL here and count what XNNPACK really takes.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def coverage(
    model: Path, delegates: tuple[str, ...], edgetpu_runtime: int, *, measure: bool, as_json: bool
) -> None:
    """Predict how much of MODEL the delegates take, and say why they leave the rest.

    MODEL is any .tflite file. Nothing of it is run unless --measure is given.
    """
    from packager.coverage_file import cover_file
    from packager.coverage_text import coverage_json, coverage_lines

    found = cover_file(model, edgetpu_runtime, is_measured=measure)
    shown = found.name, found.predictions, found.count, delegates or _DELEGATES
    if as_json:
        click.echo(json.dumps(coverage_json(*shown), indent=2))
        return
    for line in coverage_lines(*shown):
        click.echo(line)


@main.command(
    epilog="Example: litefleet-packager lint model.tflite --profile raspberry-pi-4 --calibration calibration"
)
@click.argument("model", type=PATH)
@click.option("--profile", "profiles", multiple=True, help="Board it is meant for; may be given again.")
@click.option(
    "--calibration", type=PATH, help="Folder of images that static int8 would learn its ranges from."
)
@click.option("--mean", type=Numbers(), default="0", show_default=True, help="Input = (pixel - mean) / std.")
@click.option("--std", type=Numbers(), default="255", show_default=True, help="See --mean; above 0.")
@fitting_options
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def lint(
    model: Path,
    profiles: tuple[str, ...],
    calibration: Path | None,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    resize: str | None,
    pad: int | None,
    bgr: bool | None,
    *,
    as_json: bool,
) -> None:
    """Say what will go wrong with MODEL before any work is done.

    MODEL is any .tflite file. Every finding has a code, how bad it is, and what to do; errors end with exit code 1.
    """
    from firmware_profiles import load_profile
    from packager.lint.run import check_findings, lint_file
    from packager.preprocess import Fitting

    if min(std) <= 0:
        raise ConfigError("--std must be above 0")
    boards = [load_profile(name) for name in dict.fromkeys(profiles)]
    fitting = Fitting(Resize(resize) if resize else None, pad or 0, bool(bgr))
    findings = lint_file(model, boards, calibration, mean, std, fitting)
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(findings), indent=2))
    else:
        for finding in findings:
            click.echo(finding.line())
        if not findings:
            click.echo(f"{model.name}: nothing found")
    check_findings(findings, model.name)


main.add_command(compare)


@main.group()
def keys() -> None:
    """Make the keys that releases are signed with."""


@keys.command("init", epilog="Example: litefleet-packager keys init")
@keys_option
@click.option("--server", envvar=SERVER_ENV, show_envvar=True, help="Also make this server trust the keys.")
@token_option
def init_keys(keys: Path, server: str | None, token_file: Path) -> None:
    """Make a root key and a targets key; existing ones are never overwritten."""
    from packager.keys import create_keys

    token = read_token(token_file) if server else ""
    create_keys(keys)
    click.echo(f"made keys in {keys}: back the folder up, it cannot be made again")
    if server:
        from packager.publish import establish_trust

        establish_trust(server=server, token=token, keys=keys, echo=click.echo)


@main.command(
    epilog="Example: litefleet-packager publish dist/digits-1.0.0-*.bundle --server http://127.0.0.1:8080"
)
@click.argument("bundles", type=PATH, nargs=-1, required=True)
@click.option("--server", required=True, envvar=SERVER_ENV, show_envvar=True, help="URL of the server.")
@keys_option
@token_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def publish(bundles: tuple[Path, ...], server: str, keys: Path, token_file: Path, *, as_json: bool) -> None:
    """Sign BUNDLES and put them on the server; the first time, make it trust the keys."""
    token = read_token(token_file)
    from packager.publish import publish_bundles

    result = publish_bundles(bundles, server=server, token=token, keys=keys, echo=_echo_aside)
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(result), indent=2))
        return
    for release in result.releases:
        what = "published" if release.is_new else "is there already:"
        click.echo(f"{what} {release.model} {release.version} for {', '.join(release.profiles)}")
    click.echo(f"uploaded {result.uploaded_artifacts} artifacts, {result.uploaded_bytes:,} bytes")


def _echo_aside(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
