"""The static page at /, and the form that asks for a key where keys are on.

The page reads nothing but /v1; a key typed into the form becomes a cookie that scripts cannot read.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from tokenloom.serve.keys import Keys
from tokenloom.serve.login import COOKIE, WRONG, login_page

PAGE_HEADERS = {
    "content-security-policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            "font-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    ),
    "cache-control": "no-cache",
}
MAX_LOGIN_BYTES = 4096


class _Files(StaticFiles):
    """The page's files, checked anew by the browser at each load."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        answer = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        answer.headers.update(PAGE_HEADERS)
        return answer

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers.update(PAGE_HEADERS)
        return answer


def install(app: FastAPI, folder: Path, keys: Keys | None) -> None:
    """Routes for the page's files; each file and folder by its own name, so that other paths stay unknown."""

    async def index(request: Request) -> Response:
        return FileResponse(folder / "index.html", headers=PAGE_HEADERS)

    async def login(request: Request) -> Response:
        return await _login(request, keys)

    if (folder / "index.html").is_file():
        app.add_api_route("/", index, methods=["GET", "HEAD"], include_in_schema=False)
        for path in sorted(folder.iterdir()):
            if path.name.startswith((".", "_")):
                continue
            if path.is_dir():
                app.mount(f"/{path.name}", _Files(directory=path))
            else:
                _add_file(app, path)
    if keys is not None:
        app.add_api_route("/login", login, methods=["GET", "POST"], include_in_schema=False)


def _add_file(app: FastAPI, path: Path) -> None:
    async def file(request: Request) -> Response:
        return FileResponse(path, headers=PAGE_HEADERS)

    app.add_api_route(f"/{path.name}", file, methods=["GET", "HEAD"], include_in_schema=False)


async def _login(request: Request, keys: Keys | None) -> Response:
    assert keys is not None
    if request.method == "GET":
        return login_page()
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_LOGIN_BYTES:
            return login_page(WRONG)
    key = parse_qs(raw.decode("utf-8", "replace")).get("key", [""])[0].strip()
    if keys.holder(key) is None:
        return login_page(WRONG)
    answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, key, httponly=True, samesite="strict", secure=secure, max_age=30 * 24 * 3600)
    return answer
