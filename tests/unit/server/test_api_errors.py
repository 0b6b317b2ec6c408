"""How failures leave the server."""

from __future__ import annotations

import json

import pytest

from contract.errors import (
    AccessError,
    AccuracyError,
    BrokerError,
    ConfigError,
    ConflictError,
    DigestError,
    ForbiddenError,
    LitefleetError,
    ManifestError,
    MessageError,
    NotFoundError,
    RuntimeLoadError,
    ServerUnavailableError,
    SignatureError,
    StorageError,
    TooLargeError,
)
from server.api.errors import error_response, status_of

STATUSES: list[tuple[type[LitefleetError], int]] = [
    (ManifestError, 400),
    (MessageError, 400),
    (DigestError, 400),
    (SignatureError, 400),
    (AccuracyError, 400),
    (ConfigError, 400),
    (AccessError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (TooLargeError, 413),
    (RuntimeLoadError, 500),
    (BrokerError, 503),
    (ServerUnavailableError, 503),
    (StorageError, 507),
]


@pytest.mark.parametrize(("error", "status"), STATUSES)
def test_every_family_has_its_status(error: type[LitefleetError], status: int) -> None:
    assert status_of(error("x")) == status


def test_the_answer_says_everything_that_the_error_says() -> None:
    answer = error_response(ConflictError("taken", faults=["a", "b"], remedy="choose another"))
    assert answer.status_code == 409
    assert json.loads(bytes(answer.body)) == {
        "code": "conflict",
        "message": "taken",
        "faults": ["a", "b"],
        "remedy": "choose another",
    }
    assert "www-authenticate" not in answer.headers


def test_a_missing_token_is_told_the_scheme() -> None:
    assert error_response(AccessError("who?")).headers["www-authenticate"] == "Bearer"
