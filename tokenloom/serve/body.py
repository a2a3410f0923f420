"""A request's body as a checked value: UTF-8, JSON in the strict sense, then one of our request models.

Not the size limit; the guard counts bytes as they arrive.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import UploadFile

from tokenloom.serve.errors import ApiError, bad_request, shape_error

MAX_DEPTH = 64
THREAD_BYTES = 64 * 1024
"""Bodies past this are parsed in a thread, so that other streams go on."""


class Body(BaseModel):
    """Fields are exactly those declared; types are not coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)

    refused: ClassVar[Mapping[str, str]] = {}
    """Fields that others know and this server does not do: {name: what to do instead}."""


Model = TypeVar("Model", bound=Body)


def _no_constant(name: str) -> Any:
    raise bad_request(
        f"The body holds {name}, which is not JSON; leave the field out instead.", code="invalid_json"
    )


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise bad_request(f"The body names {twice!r} twice in one object.", param=twice, code="invalid_json")
    return found


def parse_json(raw: bytes) -> Any:
    """Strict JSON: no NaN, no infinity, no lone surrogates, no doubled names, at most MAX_DEPTH levels."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_pairs)
    except UnicodeDecodeError as error:
        raise bad_request(f"The body is not UTF-8 (byte {error.start}).", code="invalid_json") from None
    except json.JSONDecodeError as error:
        at = f"line {error.lineno} column {error.colno}"
        raise bad_request(f"The body is not JSON: {error.msg} at {at}.", code="invalid_json") from None
    except RecursionError:
        raise bad_request(f"The body nests deeper than {MAX_DEPTH} levels.", code="invalid_json") from None
    except ValueError as error:
        raise bad_request(f"The body holds a number that is too long: {error}", code="invalid_json") from None
    _check(value, surrogates=b"\\u" in raw)
    return value


def _check(value: Any, surrogates: bool) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                deeper += item.values()
                if surrogates:
                    deeper += item.keys()
            elif isinstance(item, list):
                deeper += item
            elif isinstance(item, float) and not math.isfinite(item):
                raise bad_request("The body holds a number too large for a float.", code="invalid_json")
            elif surrogates and isinstance(item, str) and not _encodes(item):
                raise bad_request(
                    "The body holds half of a surrogate pair (\\ud800 to \\udfff).", code="invalid_json"
                )
        if not deeper:
            return
        level = deeper
    raise bad_request(f"The body nests deeper than {MAX_DEPTH} levels.", code="invalid_json")


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_media_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json":
        raise ApiError(
            415,
            f"The body is declared as {kind}; send JSON with the header Content-Type: application/json.",
            code="unsupported_media_type",
        )


async def read_json(request: Request) -> dict[str, Any]:
    """The body as a JSON object."""
    check_media_type(request)
    raw = await request.body()
    value = await asyncio.to_thread(parse_json, raw) if len(raw) > THREAD_BYTES else parse_json(raw)
    if not isinstance(value, dict):
        raise bad_request(f"The body must be a JSON object, not {type(value).__name__}.", code="invalid_json")
    return value


def checked(kind: type[Model], value: Mapping[str, Any]) -> Model:
    """The value as a request model; an error names the first field that is wrong.

    A refused field that is null says nothing and passes.
    """
    given = {name: item for name, item in value.items() if item is not None or name not in kind.refused}
    for name in given:
        if name in kind.refused:
            message = f"{name}: not supported by this server; {kind.refused[name]}"
            raise bad_request(message, param=name, code="unsupported_parameter")
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise shape_error(error, given, kind.model_fields) from None


async def read(request: Request, kind: type[Model]) -> Model:
    return checked(kind, await read_json(request))


async def read_form(http: Request, most: int = -1) -> tuple[list[tuple[str, str]], bytes | None]:
    """A form's texts in their order, and the bytes of its one file, named `file`; None without one.

    most: bytes that are read of it at most; -1 = all. ApiError 400 names a field that is of the other kind.
    """
    fields: list[tuple[str, str]] = []
    data: bytes | None = None
    async with http.form(max_files=2, max_fields=32) as form:
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                if name == "file":
                    raise bad_request("file: found a text; it must be a file of the form", "file")
                fields.append((name, value))
            elif name != "file" or data is not None:
                raise bad_request(f"{name}: found a file; one is allowed, named file", name)
            else:
                data = await value.read(most)
    return fields, data
