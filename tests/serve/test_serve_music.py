"""Music over HTTP, by a real server with a real engine and a composer of random weights."""

from __future__ import annotations

import base64
import io
import json
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fake_engine import Place
from picture_serving import text_model
from serving import running
from tiny_composer import ABC, tiny_composer

from tokenloom.engine.process import EngineProcess
from tokenloom.serve.app import create_app
from tokenloom.serve.settings import Settings
from tokenloom.sound.abc import read_tune
from tokenloom.sound.midi import read_midi, write_midi
from tokenloom.sound.score import Note, Score, Track
from tokenloom.tasks.music_early import bars_of
from tokenloom.tokens.music import melody
from tokenloom.trust import read_label
from tokenloom.trust.notation import labels_in

URL = "/v1/audio/music"
SHORT = {"prompt": "a fast reel in D", "bars": 2, "seed": 3}


@pytest.fixture(scope="module")
def http(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("band")
    folders = {
        "writer": text_model(place / "writer", model_folder),
        "composer": tiny_composer(place / "composer"),
    }
    app = create_app(
        EngineProcess(threads=1, flush_ms=1),
        Settings(models=tuple(folders), first_news_s=0.2),
        find=lambda name: Place(name, folders[name]),  # type: ignore[arg-type]
    )
    with running(app) as url, httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        for _ in range(600):
            if client.get("/health").status_code == 200:
                break
            time.sleep(0.1)
        yield client


def test_models_say_what_they_do(http: httpx.Client) -> None:
    cards = {card["id"]: card for card in http.get("/v1/models").json()["data"]}
    assert (cards["writer"]["kind"], cards["composer"]["kind"]) == ("text", "music")
    assert cards["composer"]["modalities"]["output"] == ["music"]
    assert (cards["composer"]["abilities"], "write" in cards["writer"]["abilities"]) == (["compose"], True)


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/v1/completions", {"prompt": "Once"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}),
    ],
)
def test_a_composer_writes_no_text(http: httpx.Client, url: str, body: dict[str, Any]) -> None:
    found = http.post(url, json={"model": "composer", **body})
    assert found.status_code == 400
    assert found.json()["error"]["param"] == "model"
    assert "/v1/audio/music" in found.json()["error"]["message"]


def test_one_file_is_bytes(http: httpx.Client) -> None:
    found = http.post(URL, json=SHORT)
    assert found.status_code == 200, found.text
    assert found.headers["content-type"] == "audio/midi"
    assert found.headers["x-tokenloom-seed"] == "3"
    score = read_midi(found.content)
    assert score.keys[0][1:] == ("D", "major")
    assert len(score.bars) - bool(score.pickup) == 2
    assert labels_in(found.content, "midi")
    assert http.post(URL, json=SHORT).content == found.content, "the same seed, the same file"
    assert http.post(URL, json={**SHORT, "seed": 4}).content != found.content


def test_several_pieces_are_json(http: httpx.Client) -> None:
    asked = {**SHORT, "prompt": "a heavy reel in D", "n": 2, "response_format": ["abc", "roll"]}
    found = http.post(URL, json=asked).json()
    assert found["unknown"] == ["heavy"]
    assert [one["index"] for one in found["data"]] == [0, 1]
    for one in found["data"]:
        assert (one["key"], one["bars"], one["kind"]) == ("D major", 2, "reel")
        files = {form: base64.b64decode(text) for form, text in one["files"].items()}
        assert read_tune(files["abc"].decode()).keys[0][1:] == ("D", "major")
        assert files["roll"].startswith(b"<svg")
        assert labels_in(files["roll"], "svg")
    assert found["usage"]["output_tokens"] > 0
    assert found["data"][0]["files"]["abc"] != found["data"][1]["files"]["abc"]


def test_a_sound_is_labelled(http: httpx.Client) -> None:
    found = http.post(URL, json={**SHORT, "bars": 1, "response_format": "wav"})
    assert found.content.startswith(b"RIFF")
    assert read_label(found.content) is not None


def test_a_given_score(http: httpx.Client) -> None:
    given = read_tune(ABC)
    data = {"response_format": "abc", "bars": "2", "seed": "1"}
    longer = http.post(URL, data=data, files={"file": ("in.abc", ABC.encode())})
    assert longer.status_code == 200, longer.text
    assert len(read_tune(longer.text).bars) == len(given.bars) + 2
    body = {"file": base64.b64encode(ABC.encode()).decode(), "response_format": "abc", "seed": 1}
    anew = http.post(URL, json={**body, "infill": "3-4"})
    made = read_tune(anew.text)

    def outside(tune: Any) -> list[tuple[int, int]]:
        return [(n.start, n.pitch) for n in tune.tracks[0].notes if not 96 <= n.start < 192]

    assert outside(made) == outside(given)
    url = f"data:text/vnd.abc;base64,{body['file']}"
    under = http.post(URL, json={**body, "file": url, "task": "harmonise"})
    assert len(read_tune(under.text).tracks) == 3


def test_a_score_is_rendered_as_it_is(http: httpx.Client) -> None:
    forms = ["midi", "abc", "wav", "mp3", "roll", "png"]
    body = {"file": base64.b64encode(ABC.encode()).decode(), "task": "render", "label": "audible"}
    answer = http.post(URL, json={**body, "response_format": forms})
    assert answer.status_code == 200, answer.text
    assert "x-tokenloom-label" not in answer.headers, "nothing was generated"
    found = answer.json()
    assert (found["model"], found["usage"]["total_tokens"], found["data"][0]["bars"]) == (None, 0, 8)
    files = {form: base64.b64decode(text) for form, text in found["data"][0]["files"].items()}
    given = read_tune(ABC)
    assert sung(read_midi(files["midi"])) == sung(given) == sung(read_tune(files["abc"].decode()))
    for form in ("midi", "abc"):
        assert not labels_in(files[form], form)  # type: ignore[arg-type]
    for form in ("wav", "mp3", "png"):
        assert read_label(files[form]) is None, form
    with wave.open(io.BytesIO(files["wav"])) as sound:
        assert sound.getnframes() / sound.getframerate() < given.seconds + 4, "and no tones before it"
    (whole,) = events(http, json={**body, "stream": True}, label=None)
    assert whole["data"][0]["files"]["midi"] == found["data"][0]["files"]["midi"]


def test_what_was_generated_stays_labelled_when_it_is_rendered(http: httpx.Client) -> None:
    for form in ("midi", "abc"):
        tune = http.post(URL, json={**SHORT, "response_format": form}).content
        body = {"file": base64.b64encode(tune).decode(), "task": "render", "response_format": "wav"}
        answer = http.post(URL, json=body)
        assert answer.headers["x-tokenloom-label"] == "AI-generated"
        assert read_label(answer.content) is not None, form


def test_a_score_of_an_hour_is_no_sound_here(http: httpx.Client) -> None:
    score = Score((Track((Note(0, 12, 60), Note(12 * 60 * 120, 12, 62))),))
    body = {"file": base64.b64encode(write_midi(score)).decode(), "task": "render"}
    for task in ("render", "harmonise"):
        error = http.post(URL, json={**body, "task": task, "response_format": "mp3"}).json()["error"]
        assert error["param"] == "file"
        assert "at most 1200" in error["message"]
    assert http.post(URL, json=body).status_code == 200, "its notes are"


def events(http: httpx.Client, label: str | None = "AI-generated", **asked: Any) -> list[dict[str, Any]]:
    with http.stream("POST", URL, **asked) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.read()
        assert answer.headers.get("x-tokenloom-label") == label
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def grown(partials: list[dict[str, Any]], index: int = 0) -> dict[int, list[list[int]]]:
    """Notes by bar, as a page keeps them: a bar that is told again replaces what was told of it."""
    told: dict[int, list[list[int]]] = {}
    for one in partials:
        if one["index"] == index:
            told.update({bar["number"]: bar["notes"] for bar in one["bars"]})
    return told


def sung(score: Any) -> dict[int, list[list[int]]]:
    return {bar.number: [[n.start, n.stop, n.pitch, n.velocity] for n in bar.notes] for bar in bars_of(score)}


@pytest.mark.parametrize("key", ["in D", ""], ids=["drafts", "one"])
def test_a_tune_is_seen_as_it_is_written(http: httpx.Client, key: str) -> None:
    asked = {"prompt": f"a reel {key}", "bars": 24, "seed": 5, "n": 2, "response_format": ["midi", "abc"]}
    plain = http.post(URL, json=asked).json()
    *partials, whole = events(http, json={**asked, "stream": True})
    assert [one["type"] for one in partials] == ["music.partial"] * len(partials)
    assert whole.pop("type") == "music.completed"
    assert {**whole, "created": 0} == {**plain, "created": 0}, "the same answer, to the byte"
    assert len(partials) > 2, "on the way, and not at the end"
    assert len(grown(partials[:2])) < len(grown(partials))
    assert (partials[0]["kind"], partials[0]["ticks"], partials[0]["of"]) == ("reel", 12, 24)
    for index in (0, 1):
        shown = grown(partials, index)
        assert 12 <= len(shown) <= 25
        assert any(shown.values())
        if not key:  # with one draft what is shown is what is kept; the last bar may come with the answer
            final = sung(read_midi(base64.b64decode(whole["data"][index]["files"]["midi"])))
            assert {number: final[number] for number in list(shown)[:-1]} == dict(list(shown.items())[:-1])


def test_bars_of_a_given_score_are_seen_as_they_are_written(http: httpx.Client) -> None:
    given, files = sung(melody(read_tune(ABC))), {"file": ("in.abc", ABC.encode())}
    data = {"bars": "4", "seed": "1", "stream": "true"}
    *partials, whole = events(http, data=data, files=files)
    shown = grown(partials)
    assert {number: shown[number] for number in given} == given
    assert len(shown) > len(given)
    assert sorted(bar["number"] for bar in partials[0]["bars"])[: len(given)] == list(given)
    assert len(whole["data"][0]["files"]) == 1, "the answer of one file is JSON, too"
    *partials, whole = events(http, data={"seed": "1", "stream": "true", "infill": "3-4"}, files=files)
    first = {bar["number"]: bar["notes"] for bar in partials[0]["bars"]}
    assert not first.get(4), "not written yet"
    final = sung(read_midi(base64.b64decode(whole["data"][0]["files"]["midi"])))
    assert {n: one for n, one in grown(partials).items() if n != 4} == {
        n: one for n, one in final.items() if n != 4
    }


def test_rules_have_nothing_to_show_early_and_errors_come_as_such(http: httpx.Client) -> None:
    body = {"file": base64.b64encode(ABC.encode()).decode(), "task": "harmonise", "stream": True}
    (whole,) = events(http, json=body)
    assert whole["type"] == "music.completed"
    for wrong, status in (({**body, "answer": "file"}, 422), ({"stream": True, "key": "H"}, 400)):
        assert http.post(URL, json=wrong).status_code == status
    far = {"file": body["file"], "infill": "7-99", "stream": True}
    assert http.post(URL, json=far).json()["error"]["param"] == "infill"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"prompt": "a polka"}, 400, "prompt"),
        ({"key": "H"}, 400, "key"),
        ({"metre": "5"}, 400, "metre"),
        ({"kind": "polka"}, 400, "kind"),
        ({"tempo": 999}, 400, "tempo"),
        ({"bars": 65}, 422, "bars"),
        ({"n": 0}, 422, "n"),
        ({"model": "writer"}, 400, "model"),
        ({"model": "nobody"}, 404, "model"),
        ({"response_format": "midi2"}, 422, None),
        ({"response_format": []}, 422, None),
        ({"task": "continue"}, 400, "file"),
        ({"task": "compose", "file": "WDoxCg=="}, 400, "file"),
        ({"task": "infill", "file": "WDoxCg=="}, 422, None),
        ({"task": "render"}, 400, "file"),
        ({"task": "render", "file": "WDoxCg==", "n": 2}, 422, None),
        ({"task": "render", "file": "WDoxCg==", "bars": 2}, 422, None),
        ({"task": "render", "file": "WDoxCg==", "harmonise": True}, 422, None),
        ({"infill": "1-2"}, 400, "file"),
        ({"infill": "x", "file": base64.b64encode(ABC.encode()).decode()}, 400, "infill"),
        ({"infill": "7-99", "file": base64.b64encode(ABC.encode()).decode()}, 400, "infill"),
        ({"file": "WDoxCg=="}, 400, "file"),
        ({"file": "ß"}, 400, "file"),
        ({"file": "http://x/a.mid,"}, 400, "file"),
        ({"file": base64.b64encode(b"MThd\x00\x00").decode()}, 400, "file"),
        ({"answer": "file", "n": 2}, 422, None),
    ],
)
def test_what_cannot_be_asked(
    http: httpx.Client, body: dict[str, Any], status: int, param: str | None
) -> None:
    found = http.post(URL, json=body)
    assert found.status_code == status, found.text
    error = found.json()["error"]
    assert param is None or error["param"] == param, error


def test_forms_that_are_none(http: httpx.Client) -> None:
    files = {"file": ("in.abc", ABC.encode())}
    for data, param in (({"bars": "x"}, "bars"), ({"harmonise": "maybe"}, "harmonise")):
        found = http.post(URL, data=data, files=files)
        assert (found.status_code, found.json()["error"]["param"]) == (400, param)
    assert http.post(URL, files={"other": ("a", b"b")}).status_code == 400
    assert http.post(URL, content=b"x", headers={"content-type": "text/plain"}).status_code == 415


def test_a_text_route_does_not_take_a_composer(http: httpx.Client) -> None:
    answer = http.post("/v1/completions", json={"prompt": "Hello", "max_tokens": 2})
    assert answer.status_code == 200
    assert answer.json()["model"] == "writer"


def test_the_task_of_music(http: httpx.Client) -> None:
    listed = {task["name"]: task for task in http.get("/v1/tasks").json()["data"]}
    assert (listed["compose"]["kind"], listed["compose"]["model"]) == ("music", "composer")
    fields = {"prompt": "a reel", "key": "D", "bars": 2, "seed": 3, "n": 2}
    found = http.post("/v1/tasks/compose", json={"fields": fields}).json()
    assert [(one["key"], one["bars"], sorted(one["files"])) for one in found["data"]] == [
        ("D major", 2, ["abc", "midi"])
    ] * 2
    midi = base64.b64decode(found["data"][0]["files"]["midi"])
    assert midi == http.post(URL, json={**SHORT, "prompt": "a reel in D"}).content, "the route's own tune"
    for body, param in (
        ({"fields": {"key": "H"}}, "fields.key"),
        ({"fields": {"bars": 65}}, "fields.bars"),
        ({"fields": {}, "model": "writer"}, "model"),
        ({"fields": {}, "stream": True}, "stream"),
    ):
        error = http.post("/v1/tasks/compose", json=body).json()["error"]
        assert error["param"] == param, error
