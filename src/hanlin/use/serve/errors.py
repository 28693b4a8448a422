"""What a client is told when something is wrong: OpenAI's error object, always JSON, always the right status."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hanlin.core.run.errors import HanlinError, RequestError

log = logging.getLogger(__name__)


class ApiError(Exception):
    """A refusal with its HTTP status. `param` names the field at fault, `code` is for programs. headers: of the answer;
    what may be tried again soon says so by itself."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})
        if status in (429, 503) and not self.headers:
            self.headers["Retry-After"] = "1"


def error_body(message: str, status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """`{"error": {message, type, param, code}}` as OpenAI's clients read it."""
    return {"error": {"message": message, "type": _error_type(status), "param": param, "code": code}}


def error_response(error: ApiError) -> JSONResponse:
    return JSONResponse(error_body(error.message, error.status, error.param, error.code), error.status, error.headers)


def as_api_error(error: Exception) -> ApiError:
    """What of `error` a client may know. The log gets the rest."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestError):
        return ApiError(400, f"{error.what} Expected: {error.expected}. To do: {error.do}.", code="request_refused")
    log.error("A reply failed.", exc_info=error)
    if isinstance(error, HanlinError):
        return ApiError(500, f"{error.what} Expected: {error.expected}.", code="generation_failed")
    return ApiError(500, "The server failed while answering; its log says why.", code="internal_error")


def explain_failures(app: FastAPI) -> None:
    """Make every failure of the application answer in the shape above."""

    def told(request: Request, refusal: ApiError) -> JSONResponse:
        request.state.account.code = refusal.code or ""
        return error_response(refusal)

    async def refused(request: Request, error: Exception) -> JSONResponse:
        return told(request, as_api_error(error))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return told(request, _explain_validation(error))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return told(request, ApiError(error.status_code, str(error.detail)))

    app.add_exception_handler(ApiError, refused)
    app.add_exception_handler(HanlinError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, refused)


def _explain_validation(error: RequestValidationError) -> ApiError:
    """The first thing wrong with a body, with the field's name as a path such as messages.0.content."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return ApiError(400, "The body is not JSON.", code="invalid_json")
    context = first.get("ctx", {})
    param = context.get("param") or ".".join(str(part) for part in first["loc"][1:]) or None
    message = f"{param}: {first['msg']}." if param else f"{first['msg']}."
    return ApiError(400, message, param=param, code=context.get("code"))


def _error_type(status: int) -> str:
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
