"""How failures leave the server: one JSON form, one status per family.

``{"code", "message", "faults": [...], "remedy"}`` for everything, also for what the web framework refuses by itself.
A bug becomes 500 with nothing of its inside; the traceback goes to the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from contract.errors import (
    AccessError,
    ConflictError,
    DeviceError,
    ForbiddenError,
    LitefleetError,
    MessageError,
    NotFoundError,
    ServerUnavailableError,
    StorageError,
    TooLargeError,
    TransientError,
)

STATUS: Mapping[type[LitefleetError], int] = MappingProxyType(
    {
        LitefleetError: 400,
        AccessError: 401,
        ForbiddenError: 403,
        NotFoundError: 404,
        ConflictError: 409,
        TooLargeError: 413,
        DeviceError: 500,
        TransientError: 503,
        StorageError: 507,
    }
)
"""HTTP status of an error: that of its nearest ancestor here."""


def status_of(error: LitefleetError) -> int:
    """HTTP status of an error."""
    return next(STATUS[family] for family in type(error).__mro__ if family in STATUS)


def error_response(error: LitefleetError) -> JSONResponse:
    """An error as the answer to a request."""
    status = status_of(error)
    body = {
        "code": error.code,
        "message": str(error),
        "faults": list(error.faults),
        "remedy": error.remedy,
    }
    # RFC 9110, 11.6.1: a 401 must say which scheme would be accepted.
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body, status_code=status, headers=headers)


def install_error_answers(app: FastAPI) -> None:
    """Make an application answer every failure in this form."""
    app.add_exception_handler(LitefleetError, _on_litefleet_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)


def _on_litefleet_error(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, LitefleetError)  # noqa: S101 - it was installed for this class
    return error_response(error)


def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it was installed for this class
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return error_response(MessageError("the request is not understood", faults=faults))


def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - it was installed for this class
    if error.status_code == 404:
        return error_response(NotFoundError(f"there is nothing at {request.url.path[:200]}"))
    answer = error_response(MessageError(str(error.detail)))
    answer.status_code = error.status_code
    return answer


def _on_bug(request: Request, error: Exception) -> JSONResponse:
    del request, error
    answer = error_response(ServerUnavailableError("the server failed; its log says why"))
    answer.status_code = 500
    return answer
