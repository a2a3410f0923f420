"""The drawing page in Chromium: pictures filling in, masks by mouse, finger and keys, before and after."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from studio_server import TASK, Eyes, Wire, as_base64, painted, pictures

from tokenloom.tasks import fields_json, tasks

pytestmark = pytest.mark.browser
expect: Any = pytest.importorskip("playwright.sync_api").expect
Look = Callable[..., Eyes]


@pytest.fixture
def easel(wire: Wire) -> Wire:
    """A server with a text model and a picture model, and the tasks as they are declared."""
    wire.models = ["smollm2", "painter"]
    wire.cards = {"painter": {"kind": "picture", "chat": False}, "smollm2": {"kind": "text", "chat": True}}
    known = tasks()
    wire.tasks = [
        TASK,
        *[fields_json(known[name]) for name in ("draw", "edit", "restyle", "vary", "describe")],
    ]
    return wire


def drawn(page: Any, words: str = "a red fox") -> Any:
    """The first work of the page, whole."""
    page.get_by_label("Prompt").fill(words)
    page.get_by_role("button", name="Draw", exact=True).click()
    work = page.get_by_role("article").first
    expect(work.get_by_role("button", name="Save picture 1")).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)  # one work at a time
    return work


def png(width: int, height: int) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "#88aacc").save(buffer, "PNG")
    return {"name": "house.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_pictures_fill_in_as_they_are_drawn(easel: Wire, look: Look) -> None:
    gate = threading.Event()

    def script(body: dict[str, Any]) -> list[Any]:
        steps = pictures(body)
        return [*steps[:5], ("wait", gate), *steps[5:]]

    easel.script = script
    page = look().page
    page.get_by_role("link", name="Draw", exact=True).click()
    expect(page).to_have_title("Draw · Tokenloom")
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.get_by_label("Prompt")).to_be_focused()
    expect(page.get_by_text("Fill this in first.")).to_be_visible()
    assert easel.sent == []
    page.get_by_label("Style", exact=True).select_option("noto")
    page.get_by_label("Guidance").fill("2.5")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Prompt").fill("a red fox")
    page.get_by_label("Prompt").press("Enter")
    work = page.get_by_role("article")
    expect(work.locator("img[src^='data:']")).to_have_count(4)
    expect(work.get_by_alt_text("Picture 1, not finished: a red fox")).to_be_visible()
    expect(work).to_have_attribute("aria-busy", "true")
    expect(work.get_by_text("AI-generated · AI生成")).to_be_visible()
    gate.set()
    expect(work.locator("img[src^='blob:']")).to_have_count(4)
    expect(work).not_to_have_attribute("aria-busy", "true")
    expect(work.get_by_text("seed 7")).to_be_visible()
    expect(work.get_by_text("Noto, plain shading")).to_be_visible()
    path, body = easel.sent[-1]
    assert path == "/v1/images/generations"
    sent = {"model": "painter", "prompt": "a red fox", "style": "noto", "n": 4, "guidance": 2.5, "seed": 7}
    assert sent.items() <= body.items()
    assert (body["stream"], body["partial_images"], body["label"], body["lang"]) == (True, 12, "both", "en")
    assert "temperature" not in body


def test_more_settings_and_candidates_which_show_nothing_early(easel: Wire, look: Look) -> None:
    page = look("/#/draw").page
    page.get_by_text("More settings").click()
    page.get_by_label("Temperature").fill("9")
    page.get_by_label("Prompt").fill("a fish")
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.get_by_text("A number from 0 to 2, or empty.")).to_be_visible()
    expect(page.get_by_label("Temperature")).to_be_focused()
    page.get_by_label("Temperature").fill("0.5")
    page.get_by_label("Candidates").fill("4")
    page.get_by_label("Pictures", exact=True).fill("1")
    page.get_by_label("Size").select_option("256x256")
    work = drawn(page, "a fish")
    assert {"temperature": 0.5, "best_of": 4, "n": 1, "size": "256x256"}.items() <= easel.last.items()
    assert "partial_images" not in easel.last
    work.get_by_role("button", name="Remove “a fish”").click()
    expect(page.get_by_role("article")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("article")).to_have_count(1)


def test_what_is_saved_is_the_file_with_the_words_on_it(easel: Wire, look: Look, tmp_path: Path) -> None:
    page = look("/#/draw").page
    page.get_by_text("More settings").click()
    page.get_by_label("Size").select_option("512x512")
    work = drawn(page, "一只狐狸")
    for n in (2, 3):
        with page.expect_download() as waiting:
            work.get_by_role("button", name=f"Save picture {n}").click()
        assert waiting.value.suggested_filename == f"一只狐狸 41-{n}.png"
        file = tmp_path / f"{n}.png"
        waiting.value.save_as(file)
        assert file.read_bytes() == painted(n - 1, 512, True)
    assert len(easel.sent) == 2, "the second file was there already"
    assert {"seed": 41, "label": "visible", "n": 4, "prompt": "一只狐狸"}.items() <= easel.last.items()
    assert not {"stream", "partial_images"} & easel.last.keys()


def test_a_file_that_came_along_is_saved_without_asking_again(
    easel: Wire, look: Look, tmp_path: Path
) -> None:
    page = look("/#/draw").page
    words, plain = painted(1, 512, True), painted(1)
    event = {
        "b64_json": as_base64(words),
        "plain_b64_json": as_base64(plain),
        "index": 0,
        "output_format": "png",
    }
    text = f"event: image_generation.completed\ndata: {json.dumps(event)}\n\ndata: [DONE]\n\n"
    asked: list[str] = []

    def answer(route: Any) -> None:
        asked.append(route.request.post_data)
        route.fulfill(content_type="text/event-stream", headers={"x-tokenloom-seed": "41"}, body=text)

    page.route("**/v1/images/generations", answer)
    page.get_by_label("Pictures", exact=True).fill("1")
    work = drawn(page)
    assert work.locator("img").evaluate("img => img.naturalWidth") == 64, (
        "the page says it in words beside the picture"
    )
    with page.expect_download() as waiting:
        work.get_by_role("button", name="Save picture 1").click()
    waiting.value.save_as(tmp_path / "1.png")
    assert (tmp_path / "1.png").read_bytes() == words
    assert len(asked) == 1
    assert json.loads(asked[0])["label"] == "both"


def test_a_diffusion_model_has_fields_of_its_own(easel: Wire, look: Look) -> None:
    easel.models += ["sd"]
    easel.cards["sd"] = {
        "kind": "picture",
        "styles": [],
        "modalities": {"input": ["image"], "output": ["image"]},
    }
    easel.cards["painter"]["styles"] = ["fluent"]
    page = look("/#/draw").page
    page.get_by_text("More settings").click()
    expect(page.get_by_label("Candidates")).to_be_visible()
    expect(page.get_by_label("Steps")).to_have_count(0)
    page.get_by_role("radio", name="Describe", exact=True).check(force=True)
    page.get_by_label("Model").select_option("sd")
    expect(page.get_by_role("radio", name="Draw", exact=True)).to_be_checked()
    expect(page.get_by_role("radio", name="Describe", exact=True)).to_have_count(0)
    page.get_by_text("More settings").click()
    for name in ("Candidates", "Temperature", "Style"):
        expect(page.get_by_label(name, exact=True)).to_have_count(0)
    page.get_by_label("Steps").fill("20")
    page.get_by_label("Not to be seen").fill("rain")
    page.get_by_label("Size").select_option("768x512")
    drawn(page)
    assert {
        "model": "sd",
        "steps": 20,
        "negative_prompt": "rain",
        "size": "768x512",
    }.items() <= easel.last.items()
    page.get_by_role("button", name="Change the style of picture 1").click()
    page.get_by_label("Style", exact=True).fill("watercolour")
    page.get_by_text("More settings").click()
    page.get_by_label("Strength").fill("0.6")
    page.get_by_role("button", name="Change the style", exact=True).click()
    expect(page.get_by_role("slider", name="Before and after").first).to_be_visible()
    assert {"style": "watercolour", "strength": "0.6"}.items() <= easel.last.items()
    page.get_by_role("article").last.get_by_role("button", name="Edit a part of picture 1").click()
    page.get_by_label("Prompt").fill("a fox in snow")
    page.get_by_role("button", name="Edit a part", exact=True).click()
    expect(page.get_by_role("article")).to_have_count(3)
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    assert (easel.sent[-1][0], "mask" in easel.last) == ("/v1/images/edits", False), (
        "nothing is marked: the whole"
    )


def test_a_mask_is_painted_undone_and_sent_at_the_pictures_size(easel: Wire, look: Look) -> None:
    page = look("/#/draw").page
    page.get_by_role("radio", name="Edit a part").check(force=True)
    page.get_by_role("button", name="Edit a part").click()
    expect(page.get_by_text("Choose a picture first.")).to_be_visible()
    page.get_by_label("Choose a picture").set_input_files(png(120, 80))
    canvas = page.get_by_role("application", name="The part to draw anew")
    expect(canvas).to_be_visible()
    page.get_by_role("button", name="Edit a part").click()
    expect(page.get_by_text("Paint over the part that is to be drawn anew.")).to_be_visible()
    box = canvas.bounding_box()
    assert box["width"] / box["height"] == pytest.approx(1.5, abs=0.02)

    def paint(start: float, end: float) -> None:
        page.mouse.move(box["x"] + box["width"] * start, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * end, box["y"] + box["height"] / 2, steps=5)
        page.mouse.up()

    paint(0.1, 0.2)
    expect(page.get_by_text("% of the picture is drawn anew")).to_be_visible()
    first = page.get_by_text("% of the picture is drawn anew").inner_text()
    paint(0.7, 0.9)
    expect(page.get_by_text(first)).to_have_count(0)
    page.get_by_role("button", name="Undo the last stroke").click()
    expect(page.get_by_text(first)).to_be_visible()
    page.get_by_role("button", name="Clear the mask").click()
    expect(page.get_by_text("Paint over what is to be drawn anew.")).to_be_visible()
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(page.get_by_text(first)).to_be_visible()
    page.get_by_label("Prompt").fill("a hat")
    page.get_by_role("button", name="Edit a part").click()
    work = page.get_by_role("article", name="a hat")
    expect(work.get_by_role("button", name="Save picture 1")).to_be_visible()
    path, body = easel.sent[-1]
    assert path == "/v1/images/edits"
    assert {"prompt": "a hat", "n": "1", "stream": "true", "model": "painter"}.items() <= body.items()
    assert body["image"] == png(120, 80)["buffer"]
    mask = opened(body["mask"]).convert("RGBA")
    assert mask.size == (120, 80)
    assert mask.getpixel((18, 40)) == (255, 255, 255, 255)
    assert mask.getpixel((96, 40)) == (0, 0, 0, 255)
    assert mask.getpixel((18, 2)) == (0, 0, 0, 255)
    page.get_by_role("button", name="Clear the mask").click()
    work.get_by_role("button", name="Use these settings again").click()
    expect(page.get_by_text(first)).to_be_visible()
    slider = work.get_by_role("slider", name="Before and after")
    after = work.locator("img.after")
    assert after.evaluate("a => getComputedStyle(a).clipPath") in ("inset(0px)", "inset(0px 0px 0px 0%)")
    slider.focus()
    for _ in range(3):
        slider.press("PageUp")
    assert int(slider.input_value()) > 0
    assert after.evaluate("a => getComputedStyle(a).clipPath") not in ("inset(0px)", "inset(0px 0px 0px 0%)")


def test_a_mask_goes_by_keys_and_by_finger(easel: Wire, look: Look) -> None:
    page = look("/#/draw", has_touch=True).page
    drawn(page).get_by_role("button", name="Edit a part of picture 2").click()
    canvas = page.get_by_role("application")
    expect(canvas).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(page.locator(".share")).to_contain_text("% of the picture")
    one = page.locator(".share").inner_text()
    page.keyboard.press("Shift+ArrowUp")
    expect(page.locator(".share")).not_to_have_text(one)
    page.keyboard.press("Control+z")
    expect(page.locator(".share")).to_have_text(one)
    box = canvas.bounding_box()
    canvas.tap(position={"x": box["width"] * 0.9, "y": box["height"] * 0.9})  # waits until nothing moves
    expect(page.locator(".share")).not_to_have_text(one)
    page.get_by_label("Prompt").fill("a hat")
    page.get_by_label("Prompt").press("Enter")
    expect(page.get_by_role("article")).to_have_count(2)
    expect(
        page.get_by_role("article", name="a hat").get_by_role("button", name="Save picture 1")
    ).to_be_visible()
    assert easel.last["image"] == painted(1)
    mask = opened(easel.last["mask"]).convert("L")
    assert mask.size == (64, 64)
    assert (mask.getpixel((22, 32)), mask.getpixel((57, 57)), mask.getpixel((57, 5))) == (255, 255, 0)


def test_a_drawn_picture_is_restyled_varied_and_described(easel: Wire, look: Look) -> None:
    page = look("/#/draw").page
    first = drawn(page)
    first.get_by_role("button", name="Change the style of picture 3").click()
    expect(page.get_by_role("radio", name="Change the style")).to_be_checked()
    page.get_by_role("button", name="Change the style", exact=True).click()
    expect(page.get_by_label("Style", exact=True)).to_be_focused()
    page.get_by_label("Style", exact=True).select_option("twemoji")
    page.get_by_role("button", name="Change the style", exact=True).click()
    expect(page.get_by_role("slider", name="Before and after")).to_be_visible()
    path, body = easel.sent[-1]
    assert (path, body["style"], body["image"]) == ("/v1/images/edits", "twemoji", painted(2))
    assert not {"prompt", "mask"} & body.keys()
    first = page.get_by_role("article").last
    first.get_by_role("button", name="Variations of picture 1").click()
    page.get_by_role("button", name="Variations", exact=True).click()
    expect(page.get_by_role("article")).to_have_count(3)
    expect(page.get_by_role("article").first.get_by_role("button", name="Save picture 4")).to_be_visible()
    assert (easel.sent[-1][0], easel.last["n"], easel.last["image"]) == (
        "/v1/images/variations",
        "4",
        painted(0),
    )
    easel.script = lambda body: [("text", "一只红色"), ("text", "的狐狸")]
    first.get_by_role("button", name="Describe picture 2").click()
    page.get_by_label("Language of the words").select_option("zh")
    page.get_by_role("button", name="Describe", exact=True).click()
    expect(page.get_by_text("一只红色的狐狸", exact=True)).to_have_attribute("lang", "zh-CN")
    path, body = easel.sent[-1]
    assert (path, body["lang"], body["model"]) == ("/v1/tasks/describe", "zh", "painter")
    assert body["fields"] == {"image": f"data:image/png;base64,{as_base64(painted(1))}"}


def test_stopping_keeps_what_is_whole(easel: Wire, look: Look) -> None:
    def script(body: dict[str, Any]) -> list[Any]:
        steps = pictures(body)
        return [*steps[:4], steps[8], ("wait", threading.Event())]

    easel.script = script
    page = look("/#/draw").page
    page.get_by_label("Prompt").fill("a red fox")
    page.get_by_role("button", name="Draw", exact=True).click()
    work = page.get_by_role("article")
    expect(work.get_by_role("button", name="Save picture 1")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(work.get_by_text("You stopped this drawing.")).to_be_visible()
    assert easel.left.wait(5), "the server hears that nobody waits"
    expect(work.get_by_role("button", name="Save picture")).to_have_count(1)
    expect(work.get_by_alt_text("not finished")).to_have_count(3)
    easel.left.clear()
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.get_by_role("article")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.get_by_text("You stopped this drawing.")).to_have_count(2)


def test_nothing_is_lost_on_the_way_to_another_page_and_back(easel: Wire, look: Look) -> None:
    gate = threading.Event()
    easel.script = lambda body: [*pictures(body)[:6], ("wait", gate), *pictures(body)[6:]]
    eyes = look("/#/draw")
    page = eyes.page
    page.get_by_label("Prompt").fill("a red fox")
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.get_by_role("article").locator("img")).to_have_count(4)
    page.get_by_role("link", name="New chat").click()
    expect(eyes.box()).to_be_visible()
    gate.set()
    page.get_by_role("link", name="Draw", exact=True).click()
    expect(page.get_by_role("article").get_by_role("button", name="Save picture")).to_have_count(4)
    expect(page.get_by_label("Prompt")).to_have_value("a red fox")
    page.get_by_role("button", name="切换到中文").click()
    expect(page.get_by_role("heading", name="画图", level=1)).to_be_visible()
    expect(page.get_by_label("描述", exact=True)).to_have_value("a red fox")
    page.get_by_label("描述", exact=True).fill("别的")
    page.get_by_role("button", name="再用这些设置").click()
    expect(page.get_by_label("描述", exact=True)).to_have_value("a red fox")
    expect(page.get_by_label("种子")).to_have_value("41")


def test_a_refusal_is_said_in_the_servers_words(easel: Wire, look: Look) -> None:
    words = "n: found 16; allowed: at most 4 on this server"
    easel.script = lambda body: [("status", (400, {"error": {"message": words, "code": None}}, {}))]
    page = look("/#/draw", calm=False).page
    page.get_by_label("Prompt").fill("a red fox")
    page.get_by_role("button", name="Draw", exact=True).click()
    work = page.get_by_role("article")
    expect(work.get_by_role("alert")).to_contain_text(words)
    expect(work.get_by_role("alert")).to_contain_text("Change what is asked for above")
    expect(work.get_by_role("listitem")).to_have_count(0)


def test_a_file_that_is_no_picture_is_said(easel: Wire, look: Look) -> None:
    page = look("/#/draw").page
    page.get_by_role("radio", name="Describe").check(force=True)
    file = {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.get_by_label("Choose a picture").set_input_files(file)
    expect(page.locator(".toast")).to_contain_text("no picture in “notes.png”")
    page.get_by_label("Choose a picture").set_input_files(png(3000, 1500))
    expect(page.get_by_role("img", name="The picture to work on: house.png")).to_be_visible()
    page.get_by_role("button", name="Describe", exact=True).click()
    expect(page.get_by_role("article", name="house.png")).to_be_visible()
    expect(page.locator(".said-of")).not_to_be_empty()


def test_without_a_picture_model_the_page_says_how_to_get_one(wire: Wire, look: Look) -> None:
    page = look().page
    page.get_by_role("link", name="Draw", exact=True).click()
    expect(page.get_by_text("No picture model is on offer here.")).to_be_visible()
    expect(page.get_by_text("loom studio --model painter")).to_be_visible()
    expect(page.get_by_role("button", name="Draw", exact=True)).to_have_count(0)
    wire.models = ["smollm2", "painter"]
    wire.cards = {"painter": {"kind": "picture", "chat": False}}
    wire.tasks = [fields_json(tasks()["draw"])]
    expect(page.get_by_label("Prompt")).to_be_visible(timeout=12_000)
    page.get_by_role("link", name="New chat").click()
    expect(page.get_by_label("Model").locator("option")).to_have_text(["smollm2"])


@pytest.mark.parametrize("width", [320, 360])
def test_phone_width(width: int, easel: Wire, look: Look) -> None:
    page = look("/#/draw", viewport={"width": width, "height": 740}, has_touch=True, is_mobile=True).page

    def overflow() -> int:
        return int(page.evaluate("Math.max(document.documentElement.scrollWidth - innerWidth, "
                                 "document.querySelector('.task-in').scrollWidth - innerWidth)"))  # fmt: skip

    work = drawn(page, "unbroken" * 30)
    assert overflow() <= 0
    boxes = [one.bounding_box() for one in work.locator(".acts button").all()[:5]]
    assert all(box["width"] >= 24 and box["height"] >= 40 for box in boxes)
    assert boxes[-1]["x"] + boxes[-1]["width"] <= width
    work.get_by_role("button", name="Edit a part of picture 1").click()
    expect(page.get_by_role("application")).to_be_visible()
    assert overflow() <= 0
    page.get_by_role("radio", name="Change the style").check(force=True)
    assert overflow() <= 0


NAME = """c => {
  const labels = [...(c.labels ?? [])].map((one) => one.textContent).join("");
  return Boolean((c.getAttribute("aria-label") || labels || c.textContent || "").trim());
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_control_has_a_name_and_a_picture_of_the_page(
    scheme: str, easel: Wire, look: Look, tmp_path: Path
) -> None:
    page = look("/#/draw", color_scheme=scheme).page
    drawn(page)
    page.get_by_role("button", name="Change the style of picture 3").click()
    expect(page.get_by_role("radio", name="Change the style")).to_be_checked()
    page.get_by_label("Style", exact=True).select_option("twemoji")
    page.get_by_role("button", name="Change the style", exact=True).click()
    expect(page.get_by_role("slider", name="Before and after")).to_be_visible()
    for one in ("Edit a part", "Variations", "Describe", "Draw"):
        page.get_by_role("radio", name=one, exact=True).check(force=True)
        for control in page.locator("button, a[href], input, select, textarea, summary, canvas").all():
            assert control.evaluate(NAME), control.evaluate("c => c.outerHTML")
        ids = page.locator("[id]").evaluate_all("all => all.map(one => one.id)")
        assert len(ids) == len(set(ids))
        for described in page.locator("[aria-describedby]").all():
            for each in (described.get_attribute("aria-describedby") or "").split():
                assert page.locator(f"[id='{each}']").count() == 1
    assert page.locator("img:not([alt])").count() == 0
    page.screenshot(path=tmp_path / f"draw-{scheme}.png")
    assert opened((tmp_path / f"draw-{scheme}.png").read_bytes()).size == (1280, 800)
