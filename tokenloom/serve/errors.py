"""Errors as OpenAI's clients read them: {"error": {"message", "type", "param", "code"}}.

Shape errors (a wrong type, an unknown field) are 422; what is well-formed but impossible is 400.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.responses import Response

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

LIMITS = {
    "greater_than": "above",
    "greater_than_equal": "at least",
    "less_than": "below",
    "less_than_equal": "at most",
}
LIMIT_KEYS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
KINDS = {
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}
"""pydantic's names of its errors -> what the value must be."""


class ApiError(Exception):
    """Ends a request with this status and message."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        self.extra: dict[str, str] = {}
        """Fields beside `error`, for routes whose clients look for them."""

    def body(self) -> dict[str, Any]:
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error, **self.extra}

    def headers(self) -> dict[str, str]:
        headers = {}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers

    def response(self) -> Response:
        return JSONResponse(self.body(), self.status, self.headers())


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    return ApiError(400, message, param=param, code=code)


def busy(message: str, retry_after_s: float, code: str = "rate_limit_exceeded") -> ApiError:
    return ApiError(429, message, code=code, retry_after_s=retry_after_s)


def _shown(value: Any) -> str:
    """The start of a value."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _place(loc: Sequence[int | str], value: Any) -> str:
    """Where in the body, as messages[0].content; the names of a union's members are left out."""
    name = ""
    for number, part in enumerate(loc, 1):
        inside = isinstance(value, dict) and part in value
        within = isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value)
        if inside or within:
            value = value[part]
        elif not (number == len(loc) and isinstance(value, dict) and isinstance(part, str)):
            continue
        name += f"[{part}]" if isinstance(part, int) else f".{part}"
    return name.removeprefix(".")


def _plain(first: ErrorDetails) -> str:
    """pydantic's commonest messages in plain words; the others as they are."""
    limits = first.get("ctx", {})
    kind = first["type"]
    if kind in ("too_short", "string_too_short"):
        least = limits["min_length"]
        return "must not be empty" if least == 1 else f"needs at least {least}"
    if kind in ("too_long", "string_too_long"):
        return f"at most {limits['max_length']} allowed" if limits["max_length"] else "must be empty"
    if kind == "union_tag_invalid":
        return f"allowed are {limits['expected_tags'].replace(chr(39), '')}"
    if kind == "union_tag_not_found":
        return f"missing, and required: {limits['discriminator'].strip(chr(39))}"
    if kind == "literal_error":
        return f"allowed: {limits['expected'].replace(' or ', ', ')}"
    for name, words in LIMITS.items():
        if kind == name:
            return f"must be {words} {limits[LIMIT_KEYS[name]]:g}"
    return KINDS.get(kind, first["msg"].removeprefix("Value error, "))


def shape_error(error: ValidationError, value: Any, allowed: Mapping[str, Any]) -> ApiError:
    """A pydantic error as one sentence about its first field; `allowed` are the request's own fields."""
    first = error.errors(include_url=False)[0]
    missing = first["type"] == "missing"
    name = _place(first["loc"], value)
    message = _plain(first)
    if not name:  # fields that do not go together; the message starts with one of them
        return ApiError(422, message, param=message.partition(" ")[0].rstrip(":"), code="invalid_value")
    if first["type"] == "extra_forbidden":
        known = f"; known fields are {', '.join(sorted(allowed))}" if name in first["loc"] else ""
        return ApiError(422, f"{name}: unknown field{known}", param=name, code="unknown_parameter")
    if first["type"] == "union_tag_invalid":
        name = f"{name}.{first['ctx']['discriminator'].strip(chr(39))}"
        message = f"{name}: found {first['ctx']['tag']!r}; {message}"
        return ApiError(422, message, param=name, code="invalid_value")
    if missing:
        return ApiError(422, f"{name}: missing, and required", param=name, code="missing_required_parameter")
    return ApiError(
        422, f"{name}: {message}; found {_shown(first['input'])}", param=name, code="invalid_value"
    )


async def _on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        routes = sorted({r for r in request.app.state.routes if r.startswith("/v1")})
        message = f"No route {request.method} {path}. Routes are: {', '.join(routes)}, /health, /metrics."
        return ApiError(404, message, code="unknown_url").response()
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        answer = ApiError(405, f"{path} does not take {request.method}; it takes {allow}.").response()
        answer.headers["allow"] = allow
        return answer
    return ApiError(error.status_code, str(error.detail)).response()


async def _on_crash(request: Request, error: Exception) -> Response:
    return ApiError(500, "Something went wrong inside the server; its log has the details.").response()


def install(app: FastAPI) -> None:
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_crash)
