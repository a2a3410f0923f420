"""Keys, hosts, limits, the page and its headers, loading."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_engine import FakeEngine, Place
from serving import Serve, Served

from tokenloom import hub
from tokenloom.serve import keys, limits
from tokenloom.serve.app import create_app
from tokenloom.serve.errors import ApiError
from tokenloom.serve.settings import Settings, is_loopback

CHAT = "/v1/chat/completions"
KEY = "a-key-of-enough-characters"
ROUTES = [
    ("GET", "/v1/models"), ("GET", "/v1/models/tiny"), ("POST", CHAT), ("POST", "/v1/completions"),
    ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/"), ("GET", "/index.html"), ("GET", "/js/a.js"),
    ("GET", "/nothing"), ("OPTIONS", CHAT), ("HEAD", "/v1/models"),
]  # fmt: skip


def body(text: str = "SAY(yes)YAS", **more: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], **more}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.txt"
    path.write_text(f"# ours\n{KEY}\nsha256:{keys.digest('another key, kept as its hash only')}\n")
    return path


# --- keys ---


def test_keys_guard_every_route_but_health(serve: Serve, key_file: Path) -> None:
    served: Served = serve(api_keys=key_file)
    covered = {path for _, path in ROUTES}
    for route in served.app.state.routes:
        if route.startswith("/v1") and "{" not in route:
            covered.discard(route)
            ROUTES.append(("GET", route))
    for method, path in ROUTES:
        for headers in ({}, {"authorization": "Bearer wrong-key-wrong-key"}, {"authorization": KEY}):
            answer = served.client.request(method, served.url + path, headers=headers)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
    assert served.get("/health").status_code == 200
    for key in (KEY, "another key, kept as its hash only"):
        headers = {"authorization": f"Bearer {key}"}
        assert served.get("/v1/models", headers=headers).status_code == 200
        assert served.post(CHAT, body(), headers=headers).status_code == 200
    assert served.get("/v1/models", headers={"x-api-key": KEY}).status_code == 200
    assert served.get("/v1/models", headers={"authorization": "Bearer " + KEY[:-1]}).status_code == 401


def test_a_401_is_openais(serve: Serve, key_file: Path) -> None:
    error = serve(api_keys=key_file).post(CHAT, body()).json()["error"]
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")


def test_the_page_takes_a_key_by_a_form(serve: Serve, key_file: Path) -> None:
    served: Served = serve(api_keys=key_file)
    with httpx.Client(base_url=served.url) as browser:
        asked = browser.get("/", headers={"accept": "text/html"})
        assert asked.status_code == 401
        assert '<form method="post" action="/login">' in asked.text
        assert "script-src" not in asked.headers["content-security-policy"]
        assert browser.post("/login", data={"key": "wrong"}).status_code == 401
        assert "set-cookie" not in browser.post("/login", data={"key": "x" * 9000}).headers
        entered = browser.post("/login", data={"key": KEY})
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert browser.get("/").status_code == 200
        assert browser.post(CHAT, json=body()).status_code == 200


def test_the_form_serves_another_machines_browser(serve: Serve, key_file: Path) -> None:
    served: Served = serve(api_keys=key_file, host="0.0.0.0")
    host = {"host": "192.168.7.5:8117"}
    with httpx.Client(base_url=served.url, headers=host) as browser:
        asked = browser.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert asked.headers["content-type"].startswith("text/html")
        assert asked.headers["referrer-policy"] == "same-origin"  # or the form would come with Origin: null
        origin = {"origin": "http://192.168.7.5:8117"}
        entered = browser.post("/login", data={"key": KEY}, headers=origin)
        assert entered.status_code == 303
        assert "secure" not in entered.headers["set-cookie"].lower()
        page = browser.get("/")
        assert page.status_code == 200
        files = re.findall(r'(?:src|href)="([^":]+\.(?:js|css))"', page.text)
        assert {Path(file).suffix for file in files} == {".js", ".css"}
        for file in files:
            assert served.get("/" + file, headers=host).status_code == 401
            assert browser.get("/" + file).status_code == 200
        refused = browser.post("/login", data={"key": KEY}, headers={"origin": "http://evil.example"})
        assert refused.status_code == 403


@pytest.mark.browser
@pytest.mark.slow
def test_chromium_enters_with_a_key(serve: Serve, key_file: Path) -> None:
    from playwright.sync_api import sync_playwright

    served: Served = serve(api_keys=key_file)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            page = browser.new_page()
            page.set_default_timeout(8000)
            answers: list[tuple[str, int]] = []
            page.on("response", lambda answer: answers.append((answer.url, answer.status)))
            page.goto(served.url + "/")
            page.fill("input[name=key]", KEY)
            answers.clear()
            page.click("button")
            page.wait_for_selector("textarea")
            assert page.url == served.url + "/"
            assert any(url.endswith(".js") for url, _ in answers)
            assert all(status < 400 for _, status in answers), answers
        finally:
            browser.close()


def test_a_missing_file_of_keys_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--api-keys: there is no file .*nope\.txt"):
        keys.load_keys(Settings(api_keys=tmp_path / "nope.txt"))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"--api-keys: .* is not text in UTF-8"):
        keys.load_keys(Settings(api_keys=tmp_path / "bytes"))
    with pytest.raises(ValueError, match=r"--api-keys: .* cannot be read"):
        keys.load_keys(Settings(api_keys=tmp_path))


@pytest.mark.parametrize("name", ["max_requests", "requests_per_minute", "concurrent_per_key"])
def test_limits_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: found -1; allowed: a whole number of at least"):
        Settings(**{name: -1})


@pytest.mark.parametrize(
    "option",
    [
        "--threads 0",
        "--threads -3",
        "--idle -1",
        "--max-requests 0",
        "--requests-per-minute -1",
        "--concurrent-per-key -1",
        "--memory 0",
    ],
)
def test_options_that_make_no_sense_are_refused(option: str) -> None:
    import typer
    from typer.testing import CliRunner

    from tokenloom.cli.serve import serve as command

    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, option.split())
    assert result.exit_code == 2
    assert option.split()[0] in result.output
    assert "greater than or equal to" in " ".join(result.output.replace("│", " ").split())


def test_only_hashes_are_kept(home: Path) -> None:
    key = keys.new_key("ann")
    text = (home / "keys.json").read_text()
    assert key not in text
    assert json.loads(text) == {"ann": keys.digest(key)}
    assert stat.S_IMODE((home / "keys.json").stat().st_mode) == 0o600
    assert keys.Keys({"ann": keys.digest(key)}).holder(key) == "ann"
    with pytest.raises(ValueError, match="ann"):
        keys.new_key("ann")
    keys.remove_key("ann")
    assert json.loads((home / "keys.json").read_text()) == {}
    with pytest.raises(ValueError, match="ann"):
        keys.remove_key("ann")


def test_keys_are_required_off_loopback(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="--api-keys"):
        keys.load_keys(Settings(host="0.0.0.0"))
    with pytest.raises(ValueError, match="--api-keys"):
        create_app(FakeEngine(), Settings(host="::", models=("tiny",)))
    assert keys.load_keys(Settings(host="127.0.0.1")) is None
    assert keys.load_keys(Settings(host="0.0.0.0", api_keys=key_file)) is not None
    monkeypatch.setenv("TOKENLOOM_API_KEYS", f"{KEY}, {KEY}-2")
    found = keys.load_keys(Settings(host="127.0.0.1"))
    assert found is not None
    assert found.holder(KEY + "-2")
    monkeypatch.delenv("TOKENLOOM_API_KEYS")
    keys.new_key("bob")
    assert keys.load_keys(Settings(host="127.0.0.1")) is None
    assert keys.load_keys(Settings(host="127.0.0.1", require_keys=True)) is not None


@pytest.mark.parametrize("text", ["short", "two words of some length", "sha256:abc"])
def test_a_key_file_that_is_wrong_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match="key 1"):
        keys.load_keys(Settings(api_keys=path))


def test_what_counts_as_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.8.9.1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.org", "")))


# --- hosts and origins ---


def test_other_hosts_and_origins_are_turned_away(served: Served) -> None:
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        answer = served.get("/v1/models", headers={"host": host})
        assert answer.status_code == 403, host
        assert answer.json()["error"]["code"] == "host_not_allowed"
    for host in ("localhost", "localhost:99", "127.0.0.1", "[::1]:8117", "studio.localhost"):
        assert served.get("/v1/models", headers={"host": host}).status_code == 200, host
    for origin in ("https://evil.example", "null", served.url.replace("127.0.0.1", "localhost")):
        answer = served.post(CHAT, body(), headers={"origin": origin})
        assert answer.status_code == 403, origin
        assert "access-control-allow-origin" not in answer.headers
    assert served.post(CHAT, body(), headers={"origin": served.url}).status_code == 200


def test_a_host_can_be_allowed(serve: Serve) -> None:
    served = serve(allowed_hosts=("studio.example",))
    assert served.get("/health", headers={"host": "Studio.example:443"}).status_code == 200


# --- limits ---


def test_requests_a_minute(serve: Serve, key_file: Path) -> None:
    served = serve(api_keys=key_file, requests_per_minute=3)
    headers = {"authorization": f"Bearer {KEY}"}
    statuses = [served.post(CHAT, body(), headers=headers).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    answer = served.post(CHAT, body(), headers=headers)
    assert 1 <= int(answer.headers["retry-after"]) <= 20
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert served.get("/v1/models", headers=headers).status_code == 200
    other = {"authorization": "Bearer another key, kept as its hash only"}
    assert served.post(CHAT, body(), headers=other).status_code == 200


def test_a_bucket_refills_with_time() -> None:
    now = [0.0]
    held = limits.KeyLimits(per_minute=2, concurrent=0, clock=lambda: now[0])
    for _ in range(2):
        with held.request("a"):
            pass
    with pytest.raises(ApiError) as full, held.request("a"):
        pass
    assert full.value.retry_after_s == pytest.approx(30)
    now[0] = 30.0
    with held.request("a"):
        pass
    with held.request("b"):
        pass


def test_requests_at_a_time(serve: Serve) -> None:
    served = serve(concurrent_per_key=1)
    with served.client.stream("POST", served.url + CHAT, json=body("HANG", stream=True)) as waiting:
        assert waiting.status_code == 200
        assert served.post(CHAT, body()).status_code == 429
    assert served.engine.idle()
    assert served.post(CHAT, body()).status_code == 200


def test_a_full_queue(serve: Serve) -> None:
    served = serve(max_requests=2)
    asked = {"model": "tiny", "prompt": ["a", "b", "c"]}
    assert served.post("/v1/completions", asked).status_code == 400
    hang = {"model": "tiny", "prompt": ["HANG", "HANG"], "stream": True}
    with served.client.stream("POST", served.url + "/v1/completions", json=hang, timeout=60) as waiting:
        assert waiting.status_code == 200
        answer = served.post(CHAT, body())
        assert answer.status_code == 429
        assert answer.json()["error"]["code"] == "queue_full"
        assert int(answer.headers["retry-after"]) >= 1
    assert served.engine.idle()
    assert served.post(CHAT, body()).status_code == 200


# --- loading ---


def test_loading_is_a_503(serve: Serve) -> None:
    served = serve(engine=FakeEngine(load_s=0.8), wait=False)
    health = served.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "loading")
    answer = served.post(CHAT, body())
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"]["code"] == "model_loading"


def test_a_model_that_cannot_be_loaded(serve: Serve) -> None:
    served = serve(engine=FakeEngine(load_error="the file is cut short"), wait=True)
    answer = served.post(CHAT, body())
    assert answer.status_code == 503
    assert "the file is cut short" in answer.json()["error"]["message"]
    served.engine.load_error = None
    while served.post(CHAT, body()).status_code == 503:
        pass
    assert served.post(CHAT, body()).status_code == 200


def test_a_second_model_loads_at_its_first_use(serve: Serve) -> None:
    served = serve(engine=FakeEngine(load_s=0.2), models=("tiny", "other"))
    assert [card["state"] for card in served.get("/v1/models").json()["data"]] == ["ready", "waiting"]
    assert served.post(CHAT, body(model="other")).status_code == 200
    assert served.get("/v1/models/other").json()["state"] == "ready"


def test_adapters_are_models(serve: Serve) -> None:
    served = serve(adapters={"tiny": {"poet": "/adapters/poet"}})
    assert [card["id"] for card in served.get("/v1/models").json()["data"]] == ["tiny", "tiny:poet"]
    assert served.post(CHAT, body(model="tiny:poet")).json()["model"] == "tiny:poet"
    assert served.engine.seen[-1].adapter == "poet"
    assert served.engine.seen[-1].model == "tiny"
    assert served.post(CHAT, body(model="tiny:cook")).status_code == 404


def test_without_names_whatever_is_installed_is_offered(serve: Serve) -> None:
    served = serve(models=())
    offered = [card["id"] for card in served.get("/v1/models").json()["data"]]
    assert offered == [one.name for one in hub.shipped()]  # with the package; they answer for no other
    answer = served.post(CHAT, body())
    assert answer.status_code == 404
    assert "loom pull" in answer.json()["error"]["message"]
    assert served.post("/v1/tasks/write", {"fields": {"prompt": "x"}}).status_code == 404


def test_an_app_needs_someone_who_answers() -> None:
    with pytest.raises(ValueError, match="upstream"):
        create_app(None, Settings())


# --- the page ---


def test_the_page_and_its_headers(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "js").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>page")
    (tmp_path / "logo.svg").write_text("<svg/>")
    (tmp_path / "js" / "app.js").write_text("export {};")
    (tmp_path / ".secret").write_text("no")
    served = serve(studio=tmp_path)
    page = served.get("/")
    assert "page" in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    script = served.get("/js/app.js")
    assert "javascript" in script.headers["content-type"]
    assert served.get("/logo.svg").headers["content-type"].startswith("image/svg")
    for path in (
        "/.secret",
        "/js/../.secret",
        "/js/..%2f.secret",
        "/js/%2e%2e/.secret",
        "/js",
        "/js/none.js",
    ):
        assert served.get(path).status_code in (404, 307, 405), path
        assert served.get(path).text != "no"
    for answer in (page, script, served.get("/health"), served.get("/nothing"), served.get(CHAT)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers


# --- figures ---


def test_metrics(serve: Serve) -> None:
    served = serve()
    served.post(CHAT, body())
    served.post(CHAT, body(model="nobody"))
    served.get("/odd/path")
    text = served.get("/metrics").text
    assert (
        'tokenloom_http_requests_total{method="POST",route="/v1/chat/completions",status="200"} 1.0' in text
    )
    assert (
        'tokenloom_http_requests_total{method="POST",route="/v1/chat/completions",status="404"} 1.0' in text
    )
    assert 'route="other",status="404"' in text
    assert "odd" not in text
    assert 'tokenloom_completion_tokens_total{model="tiny"}' in text
    assert 'tokenloom_ttft_seconds_count{model="tiny"} 1.0' in text
    assert 'tokenloom_inter_token_seconds_bucket{le="0.001",model="tiny"}' in text
    assert "tokenloom_requests_in_flight 0.0" in text


def test_place_stands_in_for_found() -> None:
    assert Place("a", Path("b")).name == "a"
