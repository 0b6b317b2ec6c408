"""The fetching process: ``python -m edge_agent.update.fetch``.

A process of its own, so that TUF, cryptography and HTTP take memory only while a release is fetched: ending gives
all of it back, and the agent's main process imports none of them. It is a process entry like a ``cli``, but its
terminal is the agent: one job on standard input, JSON lines on standard output (``edge_agent.update.fetch_protocol``),
log lines on standard error. It ends with 0 when it wrote a last line, refusals included; a bug ends it without one.

Guarantees: a slot is complete, checked and on disk when ``Fetched`` is written; ``variant`` is the last file in it.
Meets the parts: verifying (``verify``), downloading (``download``) and HTTP (``http``) know nothing of each other.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from contract.compat import choose_cheaper, choose_fallback, choose_variant
from contract.errors import DownloadError, LitefleetError, NotFoundError
from contract.identifiers import parse_model, parse_profile_id, parse_version
from contract.manifest import Artifact, Manifest, Variant, check_received, parse_manifest
from edge_agent.files import write_durably
from edge_agent.update.download import Meter, Places, fetch_artifacts
from edge_agent.update.fetch_protocol import (
    ARTIFACT_FOLDER,
    LINE_MAX_BYTES,
    MANIFEST_FILE,
    VARIANT_FILE,
    Fetched,
    FetchJob,
    Line,
    Progress,
    Refused,
    parse_job,
    refusal_of,
    serialize_line,
)
from edge_agent.update.http import Http
from edge_agent.update.verify import Repository, fetch_manifest

logger = logging.getLogger(__name__)


def main() -> None:
    """Do one job from standard input."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("tuf").setLevel(logging.WARNING)
    _write(_answer(sys.stdin.buffer.readline(LINE_MAX_BYTES)))


def _answer(line: bytes) -> Fetched | Refused:
    http = Http()
    try:
        return fetch(parse_job(line), http, datetime.now(timezone.utc), _write)
    except LitefleetError as error:
        logger.info("refused: %s", error.summary())
        return refusal_of(error)
    finally:
        http.close()


def _write(line: Line) -> None:
    """The only place that writes to standard output."""
    sys.stdout.buffer.write(serialize_line(line))
    sys.stdout.buffer.flush()


def fetch(job: FetchJob, http: Http, now: datetime, report: Callable[[Progress], None]) -> Fetched:
    """Bring one release into a slot.

    Args:
        job: What, from where, to where.
        http: Open connections.
        now: This board's clock, UTC.
        report: Told of progress.

    Raises:
        RejectedError: The release is not what was signed, not for this board, or not there.
        DownloadError: The server cannot be reached now; what came stays for the next try.
        StorageError: The disk is too full, or failing.
    """
    server_url, slot = job.server_url.rstrip("/"), Path(job.slot_dir)
    content = _fetch_manifest(job, server_url, http, now)
    manifest = parse_manifest(content)
    check_received(manifest, model=job.model, version=job.version, profile=job.profile)
    variant = choose_variant(manifest, job.capabilities, prefers_accuracy=job.prefers_accuracy)
    fallback = choose_fallback(manifest, variant, job.capabilities)
    cheaper = choose_cheaper(manifest, variant, job.capabilities) if job.wants_cheaper else None
    artifacts = _needed(manifest, variant, fallback, cheaper)
    places = Places(
        artifacts=slot / ARTIFACT_FOLDER,
        parts=Path(job.parts_dir) if job.parts_dir else slot / ARTIFACT_FOLDER,
        reuse=[Path(folder) for folder in job.reuse],
    )
    total = sum(artifact.size_bytes for artifact in artifacts)
    meter = Meter(total, lambda done, of: report(Progress(bytes_done=done, bytes_total=of)))
    fetch_artifacts(artifacts, server_url, places, http, meter)
    write_durably(slot / MANIFEST_FILE, content)
    write_durably(slot / VARIANT_FILE, _choice(variant, fallback, cheaper))
    return Fetched(
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        variant=variant.name,
        bytes_total=total,
        bytes_downloaded=meter.bytes_downloaded,
    )


def _fetch_manifest(job: FetchJob, server_url: str, http: Http, now: datetime) -> bytes:
    def blocks_of(url: str) -> Iterator[bytes]:
        with http.get(url) as answer:
            if answer.status == 404:
                raise NotFoundError(f"{url} is not on the server")
            if answer.status != 200:
                raise DownloadError(f"{url} was answered with status {answer.status}")
            yield from answer.blocks

    model, version = parse_model(job.model), parse_version(job.version)
    floor = datetime.fromtimestamp(job.time_floor_s, timezone.utc) if job.time_floor_s > 0 else None
    repository = Repository(server_url, Path(job.root_path), Path(job.trust_dir), floor)
    path = f"{model}/{version}/{parse_profile_id(job.profile)}/manifest.json"
    return fetch_manifest(repository, path, blocks_of, now)


def _choice(variant: Variant, fallback: Variant | None, cheaper: Variant | None) -> bytes:
    """The slot's ``variant`` file."""
    chosen = {"name": variant, "fallback": fallback, "cheaper": cheaper}
    return msgspec.json.encode({role: each.name for role, each in chosen.items() if each is not None})


def _needed(manifest: Manifest, *variants: Variant | None) -> list[Artifact]:
    """What the slot needs: the models of these variants and the golden inputs, the same file once."""
    found = {each.artifact.sha256: each.artifact for each in variants if each is not None}
    if manifest.golden is not None:
        found[manifest.golden.artifact.sha256] = manifest.golden.artifact
    return list(found.values())


if __name__ == "__main__":
    main()
