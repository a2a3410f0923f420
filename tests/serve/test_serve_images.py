"""Pictures over HTTP by the official client: drawn, edited, varied, streamed; next to a text model."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_serving import Gallery, gallery, mask, opened, png, url_of

from tokenloom.serve.schema_images import EditRequest
from tokenloom.trust import read_label
from tokenloom.trust.verify import inspect, kind_of


@pytest.fixture(scope="module")
def shown(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with gallery(tmp_path_factory.mktemp("gallery"), model_folder) as found:
        yield found


def pixels(b64_json: str | None) -> np.ndarray:
    return np.asarray(opened(b64_json).convert("RGBA"))


def test_models_say_what_they_do(shown: Gallery) -> None:
    cards = {card["id"]: card for card in shown.http.get(shown.url + "/v1/models").json()["data"]}
    assert (cards["writer"]["kind"], cards["painter"]["kind"]) == ("text", "picture")
    assert cards["painter"]["modalities"] == {"input": ["text", "image"], "output": ["text", "image"]}
    assert cards["painter"]["sampling"] == {"guidance_scale": 2.0}
    assert "fluent" in cards["painter"]["styles"]


def test_generate(shown: Gallery) -> None:
    options: Any = {"seed": 7, "style": "fluent"}
    found = shown.client.images.generate(
        model="painter", prompt="一只红色的狐狸", n=2, size="256x256", extra_body=options
    )
    assert found.data is not None
    assert [one.revised_prompt for one in found.data] == ["一只红色的狐狸"] * 2
    assert (found.output_format, found.size, found.background) == ("png", "256x256", "transparent")
    assert found.usage is not None
    assert found.usage.output_tokens == 2 * 16
    assert found.usage.total_tokens == found.usage.input_tokens + 32
    one, two = (pixels(one.b64_json) for one in found.data)
    assert one.shape == (256, 256, 4)
    assert not np.array_equal(one, two)
    again = shown.client.images.generate(
        model="painter", prompt="一只红色的狐狸", size="256x256", extra_body=options
    )
    assert again.data is not None
    assert np.array_equal(pixels(again.data[0].b64_json), one), "the same seed, the same picture"


@pytest.mark.parametrize("kind", ["png", "webp", "jpeg"])
def test_what_comes_is_labelled(shown: Gallery, kind: Any) -> None:
    for label, lang in (("visible", "zh"), ("hidden", "en")):
        found = shown.client.images.generate(
            prompt="a fox", output_format=kind, extra_body={"label": label, "lang": lang}
        )
        assert found.data is not None
        data = base64.b64decode(found.data[0].b64_json or "")
        assert kind_of(data) == kind
        assert read_label(data) is not None
        report = inspect(data, kind)
        assert report.ok
        assert report.visible == (label == "visible")


def test_both_labels_are_two_files_of_one_picture(shown: Gallery) -> None:
    body = {"prompt": "a fox", "size": "256x256", "seed": 5}
    found = {
        label: shown.http.post(shown.url + "/v1/images/generations", json={**body, "label": label}).json()[
            "data"
        ]
        for label in ("visible", "hidden", "both")
    }
    (both,) = found["both"]
    assert both["b64_json"] == found["visible"][0]["b64_json"]
    assert both["plain_b64_json"] == found["hidden"][0]["b64_json"]
    assert "plain_b64_json" not in found["visible"][0]
    events = streamed(shown, {**body, "n": 24, "label": "both", "partial_images": 2})
    assert {"plain_b64_json"} <= set(events[-1])
    for event in events[:-24]:
        assert opened(event["b64_json"]).size == (256, 256), (
            "a picture under way has the size that is asked for"
        )
        assert not inspect(base64.b64decode(event["b64_json"]), "png").visible
        assert "plain_b64_json" not in event


def streamed(shown: Gallery, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = shown.http.post(shown.url + "/v1/images/generations", json={**body, "stream": True})
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def test_the_background(shown: Gallery) -> None:
    found = shown.client.images.generate(prompt="a fox", background="opaque")
    assert found.data is not None
    assert opened(found.data[0].b64_json).mode == "RGB"
    assert found.background == "opaque"


def test_the_judge_orders_what_it_chose(shown: Gallery) -> None:
    body = {"prompt": "a fox", "n": 2, "best_of": 3, "seed": 1, "size": "64x64"}
    data = shown.http.post(shown.url + "/v1/images/generations", json=body).json()["data"]
    assert data[0]["score"] >= data[1]["score"]
    assert [one["index"] for one in data] == [0, 1]


def test_a_stream_of_partial_pictures(shown: Gallery) -> None:
    """Many at once, so that they take a while; a fast one may have fewer than were asked for."""
    options: Any = {"prompt": "a red fox", "n": 24, "size": "64x64", "extra_body": {"seed": 7}}
    done: dict[int, str] = {}
    shares: dict[int, list[int]] = {}
    whole = shown.client.images.generate(**options).data or []  # from here on the codec is open
    for event in shown.client.images.generate(stream=True, partial_images=3, **options):
        found: Any = event
        if event.type == "image_generation.partial_image":
            assert not done, "all partial ones come first"
            shares.setdefault(found.index, []).append(event.partial_image_index)
            assert opened(event.b64_json).mode in ("RGB", "RGBA")
        else:
            assert event.type == "image_generation.completed"
            assert event.usage.output_tokens == 24 * 16
            done[found.index] = event.b64_json
    assert shares
    for numbers in shares.values():
        assert numbers == sorted(set(numbers))
        assert numbers[-1] <= 2
    assert [done[index] for index in range(24)] == [one.b64_json for one in whole], (
        "streamed or not, the same"
    )


def test_edit_by_the_client(shown: Gallery) -> None:
    source = png(colour=(10, 120, 240, 255))
    found = shown.client.images.edit(
        image=("in.png", source), mask=("mask.png", mask()), prompt="with a hat", n=2, extra_body={"seed": 5}
    )
    assert found.data is not None
    done = pixels(found.data[1].b64_json)
    assert done.shape == (512, 512, 4)
    assert (done[300:400, 300:] == (10, 120, 240, 255)).all(), "what is not marked stays"
    assert not (done[:200, :200] == (10, 120, 240, 255)).all()
    assert found.usage is not None
    assert found.usage.input_tokens_details.image_tokens == 16
    kinds = [
        event.type
        for event in shown.client.images.edit(
            image=source, mask=mask(), prompt="a hat", stream=True, partial_images=2
        )
    ]
    assert kinds[-1] == "image_edit.completed"
    assert set(kinds[:-1]) <= {"image_edit.partial_image"}


def test_a_style_alone_is_the_whole_in_it(shown: Gallery) -> None:
    body = {"image": url_of(png()), "style": "twemoji", "seed": 3, "size": "64x64"}
    answer = shown.http.post(shown.url + "/v1/images/edits", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tokenloom-seed"] == "3"
    form = {"style": "twemoji", "seed": "3", "size": "64x64"}
    by_form = shown.http.post(shown.url + "/v1/images/edits", data=form, files={"image": ("a.png", png())})
    assert by_form.json()["data"] == answer.json()["data"], "a form and JSON are one"


def test_variations_by_the_client(shown: Gallery) -> None:
    found = shown.client.images.create_variation(image=png(), n=2, size="256x256")
    assert found.data is not None
    assert len(found.data) == 2


def refusal(shown: Gallery, path: str, **request: Any) -> tuple[int, str, str | None]:
    answer = shown.http.post(f"{shown.url}/v1/images/{path}", **request)
    error = answer.json()["error"]
    return answer.status_code, error["message"], error["param"]


@pytest.mark.parametrize(
    ("body", "status", "words", "param"),
    [
        ({}, 422, "prompt: missing, and required", "prompt"),
        ({"prompt": ""}, 422, "prompt: must not be empty", "prompt"),
        ({"prompt": "  "}, 400, "prompt: it is empty", "prompt"),
        ({"prompt": "x" * 3000}, 400, "prompt: found 3000 tokens", "prompt"),
        ({"prompt": "fox", "response_format": "url"}, 422, "allowed: b64_json", "response_format"),
        ({"prompt": "fox", "size": "1024x1536"}, 422, "pictures are square; allowed: 64x64 to", "size"),
        ({"prompt": "fox", "size": "2048x2048"}, 422, "pictures are square", "size"),
        ({"prompt": "fox", "style": "vivid"}, 422, "allowed: fluent, noto", "style"),
        ({"prompt": "fox", "n": 65}, 422, "n: must be at most 64", "n"),
        ({"prompt": "fox", "n": 64, "best_of": 5}, 400, "best_of: found 5", "best_of"),
        ({"prompt": "fox", "partial_images": 2}, 422, "no effect without stream", "partial_images"),
        ({"prompt": "fox", "output_compression": 50}, 400, "not supported", "output_compression"),
        ({"prompt": "fox", "background": "transparent", "output_format": "jpeg"}, 422, "JPEG", "background"),
        ({"prompt": "fox", "model": "writer"}, 400, "writer draws no pictures .*models: painter", "model"),
        ({"prompt": "fox", "model": "nobody"}, 404, "'nobody' is not offered", "model"),
    ],
)
def test_a_request_that_cannot_be_met(
    shown: Gallery, body: dict[str, Any], status: int, words: str, param: str
) -> None:
    found = refusal(shown, "generations", json=body)
    assert (found[0], found[2]) == (status, param)
    with pytest.raises(ValueError, match=words):
        raise ValueError(found[1])


@pytest.mark.parametrize(
    ("files", "data", "words"),
    [
        ({}, {"prompt": "hat"}, "image: missing"),
        ({"image": b"no picture"}, {"prompt": "hat"}, "image: found no picture; allowed: PNG"),
        ({"image": png()}, {"prompt": "hat"}, "mask: missing"),
        (
            {"image": png(), "mask": mask(32, 32)},
            {"prompt": "hat"},
            "mask: found 32 x 32 pixels; allowed: 64",
        ),
        ({"image": png(), "mask": png()}, {"prompt": "hat"}, "mask: nothing is marked"),
        ({"image": png(), "mask": mask()}, {}, "prompt: missing"),
        ({"image": png(20_000, 1)}, {"style": "noto"}, "image: found 20000 x 1 pixels; allowed"),
        (
            {"image": png(), "mask": mask()},
            {"prompt": "hat", "n": "two"},
            "n: found 'two'; it must be a whole",
        ),
        ({"image": png(), "other": png()}, {"prompt": "hat"}, "other: found a file"),
        ({"image": png(), "mask": mask()}, {"prompt": "hat", "seeed": "1"}, "seeed: unknown field"),
    ],
)
def test_an_edit_that_cannot_be_done(
    shown: Gallery, files: dict[str, bytes], data: dict[str, str], words: str
) -> None:
    sent = {name: (name, content) for name, content in files.items()} or {"": ("", b"")}
    status, message, _ = refusal(shown, "edits", files=sent if files else {"mask": mask()}, data=data)
    assert status in (400, 422)
    assert words in message


def test_a_picture_as_large_as_the_reader_takes_comes_through_the_door(shown: Gallery) -> None:
    """In a form and in base64; one byte more is the reader's to refuse, and it names its own limit."""
    most = 20 * 2**20
    large = png() + bytes(most - len(png()))  # what follows a PNG's end is not looked at
    form = {"style": "noto", "size": "64x64", "seed": "3"}
    for files in ({"image": large}, {"image": large, "mask": mask()}):
        sent = {**form, "prompt": "a hat"} if "mask" in files else form
        answer = shown.http.post(shown.url + "/v1/images/edits", data=sent, files=files)
        assert answer.status_code == 200, answer.text
    whole = {"image": url_of(large), "mask": url_of(large), "prompt": "hat"}
    status, message, param = refusal(shown, "edits", json=whole)
    assert (status, param) == (400, "mask"), message
    assert "nothing is marked" in message, "both were read"
    for request in ({"files": {"image": large + b"0"}}, {"json": {"image": url_of(large + b"0")}}):
        status, message, _ = refusal(shown, "variations", **request)
        assert (status, message) == (400, f"image: found {most + 1} bytes; allowed: at most {most}")


def test_other_bodies_are_refused(shown: Gallery) -> None:
    status, message, _ = refusal(shown, "edits", content=b"x", headers={"content-type": "text/plain"})
    assert (status, "declared as text/plain" in message) == (415, True)
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert refusal(shown, "edits", content=b"--y\r\nnonsense", headers=broken)[0] == 400
    body = {"image": "https://example.com/fox.png", "style": "noto"}
    assert "must be a data URL" in refusal(shown, "edits", json=body)[1]
    assert "no base64" in refusal(shown, "variations", json={"image": "data:image/png;base64,???"})[1]
    assert "of text/html" in refusal(shown, "variations", json={"image": "data:text/html,hello"})[1]


def test_tasks_of_pictures(shown: Gallery) -> None:
    def run(name: str, fields: dict[str, Any], **more: Any) -> Any:
        return shown.http.post(f"{shown.url}/v1/tasks/{name}", json={"fields": fields, **more})

    listed = {task["name"]: task for task in shown.http.get(shown.url + "/v1/tasks").json()["data"]}
    assert [listed[name]["kind"] for name in ("draw", "edit", "restyle", "vary")] == ["picture"] * 4
    assert {field["name"]: field.get("of") for field in listed["vary"]["fields"]} == {
        "image": None, "style": "codes", "n": None, "guidance": None, "temperature": "codes", "size": None,
        "seed": None, "negative_prompt": "diffusion", "steps": "diffusion", "strength": "diffusion",
    }  # fmt: skip
    assert listed["describe"]["kind"] == "caption"
    small = {"size": "256x256", "seed": 7}
    drawn = run("draw", {"prompt": "a red fox", "n": 2, **small}).json()
    body = {"prompt": "a red fox", "n": 2, **small}
    assert drawn["data"] == shown.http.post(shown.url + "/v1/images/generations", json=body).json()["data"]
    done = run(
        "edit", {"image": url_of(png()), "mask": url_of(mask()), "prompt": "a hat", **small}, lang="zh"
    )
    assert opened(done.json()["data"][0]["b64_json"]).size == (256, 256)
    assert run("restyle", {"image": url_of(png()), "style": "noto", **small}).status_code == 200
    others = run("vary", {"image": url_of(png()), "n": 2, **small}).json()["data"]
    sent = {"image": url_of(png()), "n": 2, **small}
    varied = shown.http.post(shown.url + "/v1/images/variations", json=sent)
    assert others == varied.json()["data"], "the task and the route draw the same"
    said = run("describe", {"image": url_of(png())}, lang="zh", publish=True).json()["choices"][0]["message"]
    assert "AI" in said["content"], "published words are labelled"
    for name, fields, param in (
        ("draw", {}, "fields.prompt"),
        ("draw", {"prompt": " "}, "fields.prompt"),
        ("edit", {"image": "fox.png", "prompt": "hat"}, "fields.image"),
        ("restyle", {"image": url_of(b"none"), "style": "noto"}, "fields.image"),
        ("vary", {}, "fields.image"),
        ("draw", {"prompt": "fox", "steps": 5}, "fields.steps"),
        ("edit", {"image": url_of(png()), "mask": url_of(mask(9, 9)), "prompt": "hat"}, "fields.mask"),
    ):
        answer = run(name, fields)
        assert (answer.status_code in (400, 422), answer.json()["error"]["param"]) == (True, param), (
            answer.text
        )


def test_text_goes_on_while_pictures_are_drawn(shown: Gallery) -> None:
    """Both models at once; each answers as it does alone."""
    ask: Any = {"model": "writer", "prompt": "Hello there", "max_tokens": 60, "temperature": 0}
    draw: Any = {"prompt": "a fox", "n": 8, "size": "64x64", "extra_body": {"seed": 4}}
    alone = shown.client.completions.create(**ask).choices[0].text
    pictures = [one.b64_json for one in shown.client.images.generate(**draw).data or ()]
    texts: list[str] = []
    writers = [
        threading.Thread(target=lambda: texts.append(shown.client.completions.create(**ask).choices[0].text))
        for _ in range(3)
    ]
    for one in writers:
        one.start()
    again = [one.b64_json for one in shown.client.images.generate(**draw).data or ()]
    for one in writers:
        one.join(60)
    assert texts == [alone] * 3
    assert again == pictures


def test_a_client_that_leaves_frees_its_place(shown: Gallery) -> None:
    body = {"prompt": "a fox", "n": 64, "stream": True, "partial_images": 1}
    with shown.http.stream("POST", shown.url + "/v1/images/generations", json=body) as answer:
        next(answer.iter_bytes())
    found = shown.http.post(shown.url + "/v1/images/generations", json={"prompt": "fox", "size": "64x64"})
    assert found.status_code == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(
            ["prompt", "n", "size", "style", "seed", "guidance", "temperature", "top_k", "best_of", "lang"]
        ),
        st.one_of(
            st.none(), st.booleans(), st.integers(-3, 3), st.floats(-1, 3, allow_nan=False),
            st.text(max_size=6), st.sampled_from(["64x64", "fluent", "zh", "a fox"]),
        ),
    )
)  # fmt: skip
def test_any_body_gets_a_picture_or_a_reason(shown: Gallery, body: dict[str, Any]) -> None:
    answer = shown.http.post(
        shown.url + "/v1/images/generations", content=json.dumps({"size": "64x64", **body})
    )
    if answer.status_code == 200:
        for one in answer.json()["data"]:
            assert opened(one["b64_json"]).format == "PNG"
    else:
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["error"]["message"]


def test_what_is_shown_under_way_is_drawn_once() -> None:
    asked = {"style": "noto", "stream": True}
    assert EditRequest(**asked).wish()["best_of"] is None
    assert EditRequest(**asked, partial_images=2).wish()["best_of"] == 1
    assert EditRequest(**asked, best_of=3).wish()["best_of"] == 3
