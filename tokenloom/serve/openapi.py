"""The API's own description: our request models, and every status that can come back."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tokenloom import __version__

REF = "#/components/schemas/{model}"
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
EVENT = {
    "type": "object",
    "required": ["data"],
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
}
STATUSES = {
    400: "Well-formed, but impossible; the message says what is allowed.",
    401: "A key is needed, or is not known.",
    403: "The Host or Origin header is not one of ours.",
    404: "No such model or route; the message has the names.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "A field has the wrong shape; the message names it.",
    429: "Too many requests; Retry-After says when.",
    500: "The engine failed.",
    503: "The model is loading; Retry-After says when.",
}
AUTH = (401, 403)
ASKED = (400, 401, 403, 404, 413, 415, 422, 429, 500, 503)


PLAIN: dict[int | str, dict[str, Any]] = {
    200: {"description": "Figures.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/json": {"schema": {"$ref": REF.format(model="Error")}}}
    return {status: {"description": STATUSES[status], "content": content} for status in statuses}


def takes(*kinds: type[BaseModel]) -> dict[str, Any]:
    """What to hand a route as openapi_extra: its body is one of these models."""
    refs = [{"$ref": REF.format(model=kind.__name__)} for kind in kinds]
    schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def takes_form(kind: type[BaseModel], *files: str) -> dict[str, Any]:
    """The body is a form with these files, or JSON with data URLs in their place."""
    schema = {"$ref": REF.format(model=kind.__name__)}
    binary = {
        "type": "object",
        "properties": {name: {"type": "string", "format": "binary"} for name in files},
    }
    content = {"multipart/form-data": {"schema": binary}, "application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def streams(description: str) -> dict[int | str, dict[str, Any]]:
    """A 200 that is JSON, or events where `stream` is true."""
    content = {
        "application/json": {"schema": {"type": "object"}},
        "text/event-stream": {"schema": EVENT},
    }
    return {200: {"description": description, "content": content}}


def install(app: FastAPI, kinds: tuple[type[BaseModel], ...]) -> None:
    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title, version=__version__, routes=app.routes, description=app.description
            )
            _, bodies = models_json_schema([(kind, "validation") for kind in kinds], ref_template=REF)
            components = found.setdefault("components", {})
            components["schemas"] = {
                **components.get("schemas", {}),
                **bodies.get("$defs", {}),
                "Error": ERROR,
            }
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]
