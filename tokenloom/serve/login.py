"""The form that asks a browser for a key, and the cookie that carries it from then on."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie

from starlette.responses import HTMLResponse, Response

COOKIE = "tokenloom_key"
LOGIN = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Tokenloom</title></head>
<body>
<h1>Tokenloom</h1>
<p>{said}</p>
<form method="post" action="/login">
<label>API key / 密钥
<input type="password" name="key" required autofocus autocomplete="current-password"></label>
<button>Enter / 进入</button>
</form>
</body>
</html>
"""
ASK = "This server asks for a key. 此服务需要密钥。"
WRONG = "This key is not known. 密钥不正确。"


def login_page(said: str = ASK) -> Response:
    csp = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    # Under no-referrer a browser sends the form with `Origin: null`, and the guard would refuse it.
    headers = {
        "content-security-policy": csp,
        "www-authenticate": "Bearer",
        "referrer-policy": "same-origin",
    }
    return HTMLResponse(LOGIN.format(said=said), HTTPStatus.UNAUTHORIZED, headers)


def cookie_key(headers: Mapping[str, str]) -> str | None:
    """The key in a request's cookie."""
    try:
        cookie = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    return cookie[COOKIE].value if COOKIE in cookie else None
