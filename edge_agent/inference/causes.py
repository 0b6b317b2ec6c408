"""Why a runtime or delegate cannot be used, and what to do about it.

PURE. Rules:

1. A cause follows from how a probe ended and from the facts; the same ending on the same board is the same cause.
2. A signal is a crash of native code, whatever was printed before it.
3. Every cause has a remedy, for runtimes and for delegates.
"""

from __future__ import annotations

from contract.probing import Cause
from edge_agent.inference.board import Facts
from edge_agent.inference.engine import ExternalDelegate
from edge_agent.inference.probe_protocol import WRONG_ANSWER, At, Outcome, ProbeJob
from edge_agent.inference.runtime_needs import suggest_other, suggest_wheel

_QUOTED_CHARS = 400

EDGETPU_USB_RULE = (
    'SUBSYSTEM=="usb", ATTRS{idVendor}=="1a6e", MODE="0660", GROUP="plugdev" and the same for "18d1"'
)
"""As Coral's packages install it (google-coral/libedgetpu, debian/edgetpu-accelerator.rules)."""
EDGETPU_PCIE_RULE = 'SUBSYSTEM=="apex", MODE="0660", GROUP="apex"'
"""https://coral.ai/docs/m2/get-started/, step 2a."""


def judge(job: ProbeJob, outcome: Outcome, facts: Facts) -> tuple[Cause | None, str]:
    """Cause and detail of a probe; no cause when it passed.

    Args:
        job: What was tried.
        outcome: What became of it.
        facts: The board.
    """
    if outcome.is_late:
        return Cause.HANG, _quoted(f"no answer after {outcome.limit_s:g} s while {outcome.at.value}", outcome)
    if outcome.signal:
        return Cause.ABI_CRASH, _quoted(f"{outcome.signal} while {outcome.at.value}", outcome)
    if outcome.passed is not None:
        return None, ""
    if outcome.failed is None:
        code = outcome.exit_code
        return Cause.ABI_CRASH, _quoted(f"ended with exit code {code} while {outcome.at.value}", outcome)
    text = outcome.failed.text.strip() or f"{outcome.failed.error} without a text"
    if outcome.failed.error == WRONG_ANSWER:
        return Cause.WRONG_ANSWER, text
    cause = _cause_of(job, outcome.at, outcome.failed.error, text, facts)
    detail = f"{text} (while {outcome.at.value})"
    return cause, _quoted(detail, outcome) if cause is Cause.REFUSED else detail


def _cause_of(job: ProbeJob, at: At, error: str, text: str, facts: Facts) -> Cause:
    if error == "ModuleNotFoundError":
        return Cause.LIBRARY_MISSING
    if error in {"ImportError", "OSError", "FileNotFoundError", "PermissionError"}:
        return _loader_cause(error, text)
    if error == "AttributeError" and at is At.LOADING:
        return Cause.WRONG_LIBRARY
    if error == "SystemError":
        return Cause.RUNTIME_TOO_OLD  # tflite-runtime with a numpy it was not built for
    if job.delegate is not None and job.delegate.is_edgetpu and at is At.LOADING:
        return edgetpu_shortage(facts) or Cause.REFUSED
    return Cause.REFUSED


def _loader_cause(error: str, text: str) -> Cause:
    """Of a text of the dynamic loader (glibc, elf/dl-load.c and dl-version.c)."""
    if error == "PermissionError" or "Permission denied" in text:
        return Cause.NO_PERMISSION
    if "cannot open shared object file" in text or error == "FileNotFoundError":
        return Cause.LIBRARY_MISSING
    return Cause.WRONG_LIBRARY


def edgetpu_shortage(facts: Facts) -> Cause | None:
    """What an Edge TPU lacks before anything is loaded; None when one is there and may be used."""
    if not facts.accelerators:
        return Cause.NO_DEVICE
    if not any(device.is_accessible for device in facts.accelerators):
        return Cause.NO_PERMISSION
    return None


def _quoted(text: str, outcome: Outcome) -> str:
    last = " ".join(outcome.output.split())[-_QUOTED_CHARS:]
    return f"{text}; it printed: {last}" if last else text


_RUNTIME_REMEDIES = {
    Cause.LIBRARY_MISSING: "{wheel}",
    Cause.WRONG_LIBRARY: "install a wheel that this system can load: {wheel}",
    Cause.NO_DEVICE: "a runtime needs no device: reinstall it: {wheel}",
    Cause.NO_PERMISSION: "give the agent's user read access to the Python environment",
    Cause.RUNTIME_TOO_OLD: "pip install 'numpy<2', or a runtime that takes numpy 2: {wheel}",
    Cause.ABI_CRASH: "install another version of the runtime: {other}",
    Cause.WRONG_ANSWER: "install another version of the runtime, this one answers wrongly here: {other}",
    Cause.HANG: "install another version of the runtime, or give the board less to do: {other}",
    Cause.REFUSED: "install another version of the runtime: {other}",
}
_DELEGATE_REMEDIES = {
    Cause.LIBRARY_MISSING: "install the library, or name its path in [[delegates]] library of agent.toml",
    Cause.WRONG_LIBRARY: (
        "take a library that is a TFLite external delegate (it exports tflite_plugin_create_delegate) "
        "and is built for {arch} with at most glibc {glibc}"
    ),
    Cause.NO_DEVICE: "connect the device, and check that its driver is loaded",
    Cause.NO_PERMISSION: "give the agent's user access to the library and the device's file",
    Cause.RUNTIME_TOO_OLD: "take a runtime as new as the one the delegate was built for: {wheel}",
    Cause.ABI_CRASH: "take a delegate that was built for this version of the runtime",
    Cause.WRONG_ANSWER: "update the delegate and its driver; it is not used while it answers wrongly",
    Cause.HANG: "reset the device (unplug it, or restart the board), and update its driver",
    Cause.REFUSED: "read what it says above; end other programs that hold the device, and check the options",
}
_EDGETPU_REMEDIES = {
    Cause.LIBRARY_MISSING: (
        "add Coral's apt repository (coral.ai/docs/accelerator/get-started) and: sudo apt install libedgetpu1-std"
    ),
    Cause.WRONG_LIBRARY: "install the libedgetpu that is made for {arch}: sudo apt install --reinstall libedgetpu1-std",
    Cause.NO_DEVICE: (
        "connect the Edge TPU: lsusb shows 1a6e:089a or 18d1:9302, or /dev/apex_0 is there (package gasket-dkms)"
    ),
    Cause.NO_PERMISSION: (
        f"USB: udev rule {EDGETPU_USB_RULE}, then: sudo usermod -aG plugdev <agent's user>. "
        f"PCIe: udev rule {EDGETPU_PCIE_RULE}, then: sudo usermod -aG apex <agent's user>. Then log in again"
    ),
    Cause.ABI_CRASH: (
        "libedgetpu must match the runtime's TensorFlow: libedgetpu 16.0tf2.17.1 goes with tflite-runtime 2.17.1"
    ),
    Cause.REFUSED: "only one process may hold an Edge TPU: end the other one; else unplug it and connect it again",
}


def remedy_for(cause: Cause, delegate: ExternalDelegate | None, facts: Facts) -> str:
    """What helps against a cause on a board.

    Args:
        cause: Of a verdict.
        delegate: That it is about; None for a runtime or its own XNNPACK.
        facts: The board.
    """
    if delegate is None:
        text = _RUNTIME_REMEDIES[cause]
    else:
        text = (_EDGETPU_REMEDIES if delegate.is_edgetpu else {}).get(cause, _DELEGATE_REMEDIES[cause])
    words = {
        "{wheel}": suggest_wheel(facts),
        "{other}": suggest_other(facts),
        "{arch}": facts.arch or "this processor",
    }
    for word, meaning in {**words, "{glibc}": facts.glibc or "of this system"}.items():
        text = text.replace(word, meaning)
    return text
