"""Tasks in Chromium: a form made from a declaration, and what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from studio_server import TASK, Eyes, Wire

from tokenloom.trust import WORDS, verify

pytestmark = pytest.mark.browser
expect: Any = pytest.importorskip("playwright.sync_api").expect
Look = Callable[..., Eyes]


def test_a_task_is_a_form_made_from_its_declaration(wire: Wire, look: Look) -> None:
    wire.tasks = [TASK, {**TASK, "name": "chat", "kind": "chat"}]
    gate = threading.Event()
    wire.script = lambda body: [("text", "Once **upon**"), ("wait", gate), ("text", " a time")]
    eyes = look()
    page = eyes.page
    expect(page.get_by_role("link", name="chat", exact=True)).to_have_count(0)
    page.get_by_role("link", name="write").click()
    expect(page.get_by_role("main").get_by_text("Continues a text.")).to_be_visible()
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_label("Beginning")).to_be_focused()
    expect(page.get_by_text("Fill this in first.")).to_be_visible()
    page.get_by_label("Beginning").fill("Long ago")
    page.get_by_label("Length").fill("9999")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("A whole number from 1 to 400, or empty.")).to_be_visible()
    assert wire.sent == []
    page.get_by_label("Length").fill("20")
    page.get_by_label("Tone").select_option("merry")
    page.get_by_role("button", name="Run").click()
    result = page.get_by_role("region", name="Result")
    expect(result).to_contain_text("Once upon")
    expect(result).to_contain_text("AI-generated")
    gate.set()
    expect(result).to_contain_text("Once upon a time")
    path, body = wire.sent[-1]
    assert path == "/v1/tasks/write"
    assert body["fields"] == {"text": "Long ago", "length": 20, "tone": "merry"}
    assert (body["lang"], body["stream"], body["model"]) == ("en", True, "smollm2")
    page.get_by_role("button", name="切换到中文").click()
    expect(page.get_by_label("开头")).to_have_value("Long ago")


def test_a_task_takes_files_and_flags_and_shows_every_version(wire: Wire, look: Look) -> None:
    words = {"en": "Source", "zh": "原文"}
    fields = [
        {
            "name": "source",
            "type": "file",
            "label": words,
            "help": words,
            "required": True,
            "default": None,
            "max": 12,
        },
        {
            "name": "short",
            "type": "flag",
            "label": {"en": "Brief", "zh": "简短"},
            "help": words,
            "required": False,
        }
        | {"default": False},
    ]
    wire.tasks = [{**TASK, "name": "sum up", "fields": fields}]
    wire.script = lambda body: [
        ("text", (0, "One ")),
        ("text", (1, "Two ")),
        ("text", (0, "a")),
        ("text", (1, "b")),
    ]
    eyes = look("/#/task/sum%20up")
    page = eyes.page
    expect(page.get_by_role("heading", level=1)).to_have_text("sum up")
    file = {"name": "a.txt", "mimeType": "text/plain", "buffer": b"far too long a text"}
    page.get_by_label("Choose a text file").set_input_files(file)
    expect(page.get_by_role("textbox", name="Source")).to_have_value("far too long a text")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("19 characters; at most 12 are allowed.")).to_be_visible()
    page.get_by_label("Choose a text file").set_input_files({**file, "buffer": "雨后彩虹".encode()})
    expect(page.get_by_role("textbox", name="Source")).to_have_value("雨后彩虹")
    page.get_by_label("Brief").check()
    page.get_by_role("button", name="Run").click()
    result = page.get_by_role("region", name="Result")
    expect(result.locator(".block")).to_have_text(["Version 1", "One a", "Version 2", "Two b"])
    assert wire.sent[-1][0] == "/v1/tasks/sum%20up"
    assert wire.last["fields"] == {"source": "雨后彩虹", "short": True}
    assert page.evaluate(
        "[scrollX, scrollY, document.querySelector('.page').getBoundingClientRect().top]"
    ) == [0, 0, 0]


def test_a_saved_continuation_holds_the_text_it_continues(wire: Wire, look: Look, tmp_path: Path) -> None:
    title = {"en": "Write on", "zh": "写作"}
    wire.tasks = [{**TASK, "title": title}]
    wire.script = lambda body: [("text", " there was"), ("text", " rain.\n")]
    eyes = look("/#/task/write")
    page = eyes.page
    expect(page.get_by_role("heading", level=1)).to_have_text("Write on")
    expect(page).to_have_title("Write on · Tokenloom")

    def saved() -> str:
        page.get_by_role("button", name="Run").click()
        expect(page.get_by_role("region", name="Result")).to_contain_text("first after")
        with page.expect_download() as waiting:
            page.get_by_role("button", name="Save as Markdown").click()
        assert waiting.value.suggested_filename == "Write on.md"
        file = tmp_path / "saved.md"
        waiting.value.save_as(file)
        assert (verify(file).ok, verify(file).content) == (True, "unchanged")
        return file.read_text(encoding="utf-8")

    page.get_by_label("Beginning").fill("Long ago")
    one = saved()
    assert '\ntitle: "Write on"\n' in one
    assert one.endswith(f"\n> {WORDS['en']}\n\nLong ago there was rain.\n")
    wire.script = lambda body: [("text", (0, " it")), ("text", (1, " we")), ("text", (0, " rained."))]
    assert saved().endswith("## Version 1\n\nLong ago it rained.\n\n## Version 2\n\nLong ago we\n")
    page.get_by_role("button", name="切换到中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("写作")


def test_a_task_takes_no_top_p_that_the_server_refuses(wire: Wire, look: Look) -> None:
    words = {"en": "Top-p", "zh": "核采样"}
    field = {"name": "top_p", "type": "number", "label": words, "help": words, "required": False}
    wire.tasks = [{**TASK, "fields": [{**field, "default": 0.95, "min": 0, "max": 1}]}]
    page = look("/#/task/write").page
    page.get_by_label("Top-p").fill("0")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("A number from 0.01 to 1, or empty.")).to_be_visible()
    assert wire.sent == []


def test_a_task_with_a_model_of_its_own_asks_that_one(wire: Wire, look: Look) -> None:
    wire.tasks = [{**TASK, "continues": False, "model": "poet"}]
    wire.script = lambda body: [("text", "一行\n二行")]
    eyes = look()
    page = eyes.page
    page.get_by_role("link", name="write").click()
    page.get_by_label("Beginning").fill("春 五言绝句")
    page.get_by_role("button", name="Run").click()
    result = page.get_by_role("region", name="Result")
    expect(result).to_contain_text("二行")
    assert wire.sent[-1][1]["model"] == "poet"
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save as Markdown").click()
    text = waiting.value.path().read_text("utf-8")
    assert "春" not in text, "a poem does not go on where its title ends"
    assert text.rstrip().endswith("一行\n二行")


POEM = {**TASK, "name": "poem", "continues": False, "model": "poet"}
LACKING = "No model here can chat yet. Fetch one in a terminal: loom pull smollm2"


def test_a_model_of_one_task_is_not_asked_to_chat(wire: Wire, look: Look) -> None:
    wire.models = ["poet", "smollm2"]
    wire.tasks = [TASK, POEM]
    eyes = look()
    page = eyes.page
    expect(page.get_by_label("Model").locator("option")).to_have_text(["smollm2"])
    eyes.ask("Hello")
    expect(eyes.answer()).to_contain_text("You said: Hello")
    assert wire.last["model"] == "smollm2"
    page.get_by_role("link", name="poem").click()
    expect(page.locator(".task .model")).to_have_text("poet")


def test_without_a_model_that_can_chat_the_page_says_what_to_do(wire: Wire, look: Look) -> None:
    wire.models = ["poet"]
    wire.tasks = [TASK, POEM]
    eyes = look()
    page = eyes.page
    expect(page.get_by_role("main").get_by_text(LACKING)).to_be_visible()
    eyes.ask("Hello")
    expect(page.locator(".toast")).to_contain_text(LACKING)
    assert wire.sent == []
    wire.models = ["poet", "smollm2"]
    expect(page.get_by_label("Model").locator("option")).to_have_text(["smollm2"], timeout=12_000)
    eyes.box().press("Enter")
    expect(eyes.answer()).to_contain_text("You said: Hello")
    assert wire.last["model"] == "smollm2"


def test_a_model_without_a_template_writes_but_does_not_chat(wire: Wire, look: Look) -> None:
    wire.models = ["base"]
    wire.cards = {"base": {"chat": False}}
    wire.tasks = [TASK]
    eyes = look()
    page = eyes.page
    expect(page.get_by_role("main").get_by_text(LACKING)).to_be_visible()
    page.get_by_role("link", name="write").click()
    expect(page.get_by_label("Model").locator("option")).to_have_text(["base"])
    page.get_by_label("Beginning").fill("Long ago")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("region", name="Result")).to_contain_text("Long ago")
    assert wire.last["model"] == "base"
    wire.models = ["base", "smollm2"]
    expect(page.get_by_label("Model").locator("option")).to_have_text(["base", "smollm2"], timeout=12_000)
    page.get_by_label("Model").select_option("base")
    page.get_by_role("link", name="New chat").or_(page.get_by_role("button", name="New chat")).click()
    expect(page.get_by_label("Model").locator("option")).to_have_text(["smollm2"])
