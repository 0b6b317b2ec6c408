"""The error families of litefleet: whose fault it is, and whether to try again.

PURE. Rules:

1. Every error has a stable ``code``; it travels on the wire as the reason of a failed deployment.
2. The class answers the only question a caller has: ``RejectedError`` never retry, ``TransientError`` retry
   with back-off, ``DeviceError`` roll back, ``ConfigError`` refuse to start.
3. A check reports every fault it found, not the first.

Foreign exceptions are wrapped once, at the door module, from their cause. Bugs are not caught.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class LitefleetError(Exception):
    """Root of all expected failures.

    Attributes:
        code: Stable identifier, lower-case with hyphens.
        faults: Every single fault found, in the order found; may be empty.
        remedy: What the reader can do about it; may be empty.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, faults: Sequence[str] = (), remedy: str = "") -> None:
        super().__init__(message)
        self.faults = tuple(faults)
        self.remedy = remedy

    def summary(self) -> str:
        """The failure in one line: what is wrong, every fault, and what to do."""
        text = str(self)
        if self.faults:
            text += ": " + "; ".join(self.faults)
        if self.remedy:
            text += f" - {self.remedy}"
        return " ".join(text.split())

    def diagnostics(self) -> str:
        """The failure for people, over several lines: code, message, faults, remedy, cause."""
        lines = [f"{self.code}: {self}"]
        lines += [f"  * {fault}" for fault in self.faults]
        if self.remedy:
            lines.append(f"  what to do: {self.remedy}")
        if self.__cause__ is not None:
            lines.append(f"  caused by {type(self.__cause__).__name__}: {self.__cause__}")
        return "\n".join(lines)


class RejectedError(LitefleetError):
    """The data is wrong; the device is unchanged; never retry with the same data."""

    code = "rejected"


class ManifestError(RejectedError):
    """A manifest, profile or bundle breaks its rules."""

    code = "manifest"


class SignatureError(RejectedError):
    """Signed metadata did not verify."""

    code = "signature"


class DigestError(RejectedError):
    """Bytes do not have the sha256 digest that the manifest promises."""

    code = "digest"


class IncompatibleError(RejectedError):
    """This board cannot run any variant of the bundle."""

    code = "incompatible"


class RollbackAttackError(RejectedError):
    """Signed metadata is older than what was already trusted, or expired."""

    code = "rollback-attack"


class MessageError(RejectedError):
    """A message or topic could not be understood."""

    code = "message"


class TooLargeError(MessageError):
    """More bytes than are accepted."""

    code = "too-large"


class AccuracyError(RejectedError):
    """No variant of the model passed the accuracy gate."""

    code = "accuracy"


class ConflictError(RejectedError):
    """What is asked contradicts what is already there (for example a version with other content)."""

    code = "conflict"


class NotFoundError(RejectedError):
    """What is asked for does not exist."""

    code = "not-found"


class AccessError(RejectedError):
    """The caller did not prove who it is, or may not do this."""

    code = "access"


class ForbiddenError(AccessError):
    """The caller is known, and may not do this."""

    code = "forbidden"


class InputError(RejectedError):
    """What an application wants inferred is not what the model takes."""

    code = "input"


class TransientError(LitefleetError):
    """Try again, with jittered back-off."""

    code = "transient"


class DownloadError(TransientError):
    """Bytes could not be fetched now."""

    code = "download"


class BrokerError(TransientError):
    """The MQTT broker cannot be used now."""

    code = "broker"


class ServerUnavailableError(TransientError):
    """The litefleet server does not answer, or answers with a failure of its own."""

    code = "server-unavailable"


class AgentUnavailableError(TransientError):
    """The agent on this device does not run, or its worker cannot be reached now."""

    code = "agent-unavailable"


class DeadlineError(TransientError):
    """No answer within the time that the caller gave."""

    code = "deadline"


class OverloadError(TransientError):
    """More is asked at a time than is taken; what is asked beyond that is refused at once."""

    code = "overload"


class DeviceError(LitefleetError):
    """This board failed; roll back."""

    code = "device"


class StorageError(DeviceError):
    """Disk full, read-only, or failing."""

    code = "storage"


class RuntimeLoadError(DeviceError):
    """The runtime or delegate could not load the model, or its process died."""

    code = "runtime-load"


class InferenceError(DeviceError):
    """The runtime or the model failed on one request."""

    code = "inference"


class SelfTestError(DeviceError):
    """The candidate's golden outputs differ from the expected ones."""

    code = "self-test"


class TrialError(DeviceError):
    """The new version failed in its trial window."""

    code = "trial"


class ConfigError(LitefleetError):
    """Refuse to start: a setting is wrong. Commands exit with 2."""

    code = "config"


def error_of_code(code: str, message: str, *, faults: Sequence[str] = (), remedy: str = "") -> LitefleetError:
    """The error that another process or machine reported by its code.

    Returns:
        An error of the class with that code; a plain ``RejectedError`` when no class has it, since a newer sender
        may know more codes and an unknown refusal must not be retried.
    """
    return _by_code(LitefleetError).get(code, RejectedError)(message, faults=faults, remedy=remedy)


def _by_code(family: type[LitefleetError]) -> dict[str, type[LitefleetError]]:
    found = {family.code: family}
    for member in family.__subclasses__():
        if member.__module__ == __name__:  # a part's own narrower class shares the code of its parent here
            found |= _by_code(member)
    return found
