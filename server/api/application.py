"""The HTTP application: every router, the form of every error, the bound of every request."""

from __future__ import annotations

from fastapi import FastAPI

from server.api import artifacts, benches, devices, events, health, releases, rollouts, telemetry, trust
from server.api.errors import install_error_answers
from server.api.limits import BodyLimit

OPENAPI_PATH = "/openapi.json"


def create_application(version: str) -> FastAPI:
    """The application without its state: the caller fills ``app.state`` before the first request.

    There is no documentation page: FastAPI's loads its parts from a server elsewhere.
    """
    app = FastAPI(title="litefleet", version=version, docs_url=None, redoc_url=None, openapi_url=OPENAPI_PATH)
    for module in (health, trust, artifacts, releases, devices, rollouts, telemetry, events, benches):
        app.include_router(module.router)
    install_error_answers(app)
    app.add_middleware(BodyLimit)
    return app
