"""The chat in Chromium: what is sent, what is shown, how answers end."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from studio_server import Eyes, Wire

from tokenloom.trust import WORDS, verify

pytestmark = pytest.mark.browser
expect: Any = pytest.importorskip("playwright.sync_api").expect
Look = Callable[..., Eyes]


def settings(eyes: Eyes) -> Any:
    eyes.page.get_by_role("button", name="Settings").click()
    return eyes.page.get_by_role("dialog", name="Settings of this chat")


def until(met: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits for what Playwright has no matcher for; its own wait needs eval, which the page refuses."""
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "this did not come true"
        time.sleep(0.05)


def test_text_shows_while_it_is_written_and_figures_follow(wire: Wire, look: Look) -> None:
    gate = threading.Event()
    wire.script = lambda body: [("text", "Once upon"), ("wait", gate), ("sleep", 0.2), ("text", " a time.")]
    eyes = look()
    eyes.ask("Tell me a story")
    expect(eyes.answer()).to_contain_text("Once upon")
    expect(eyes.answer()).to_contain_text("The model is writing")
    expect(eyes.answer()).not_to_contain_text("a time")
    expect(eyes.answer()).to_contain_text("AI-generated")
    assert "first after" not in eyes.answer().inner_text()
    gate.set()
    expect(eyes.answer()).to_contain_text("Once upon a time.")
    expect(eyes.answer()).to_contain_text("2 tokens")
    expect(eyes.answer()).to_contain_text("tokens/s")
    expect(eyes.page.locator(".unseen[role=status]")).to_have_text("Answer: Once upon a time.")
    assert not wire.left.is_set(), "the page hung up before the end of the stream"


def test_stop_hangs_up_and_keeps_what_is_there(wire: Wire, look: Look) -> None:
    wire.script = lambda body: [("text", "A long"), ("wait", threading.Event()), ("text", " never")]
    eyes = look()
    eyes.ask("Go on")
    expect(eyes.answer()).to_contain_text("A long")
    eyes.page.get_by_role("button", name="Stop").click()
    expect(eyes.answer()).to_contain_text("You stopped this answer.")
    expect(eyes.answer()).to_contain_text("A long")
    assert wire.left.wait(5), "the server did not see the client leave"
    wire.script = None
    wire.left.clear()
    eyes.ask("and now")
    expect(eyes.answer()).to_contain_text("You said: and now")
    assert [m["content"] for m in wire.last["messages"]] == ["Go on", "A long", "and now"]


def test_escape_stops(wire: Wire, look: Look) -> None:
    wire.script = lambda body: [("text", "A long"), ("wait", threading.Event())]
    eyes = look()
    eyes.ask("Go on")
    expect(eyes.answer()).to_contain_text("A long")
    eyes.page.keyboard.press("Escape")
    expect(eyes.answer()).to_contain_text("You stopped this answer.")
    assert wire.left.wait(5)


def test_nothing_is_sent_that_was_not_set(wire: Wire, look: Look) -> None:
    eyes = look()
    eyes.ask("Hi")
    expect(eyes.answer()).to_contain_text("You said: Hi")
    assert wire.sent == [
        (
            "/v1/chat/completions",
            {
                "model": "smollm2",
                "messages": [{"role": "user", "content": "Hi"}],
                "stream": True,
                "stream_options": {"include_usage": True},
            },
        )
    ]


def test_settings_go_over_the_wire_exactly(wire: Wire, look: Look) -> None:
    eyes = look()
    drawer = settings(eyes)
    drawer.get_by_label("System prompt").fill("Be brief.")
    for name, value in {
        "Temperature": "0",
        "Top-p": "0.5",
        "Top-k": "0",
        "Most tokens": "7",
        "Seed": "42",
    }.items():
        drawer.get_by_label(name, exact=True).fill(value)
    eyes.page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    eyes.page.get_by_role("combobox", name="Model").select_option("other-model")
    eyes.ask("Hi")
    expect(eyes.answer()).to_contain_text("You said: Hi")
    expect(eyes.answer()).to_contain_text("other-model")
    sent = wire.last
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert sent["model"] == "other-model"
    numbers = {name: sent[name] for name in ("temperature", "top_p", "top_k", "max_tokens", "seed")}
    assert numbers == {"temperature": 0, "top_p": 0.5, "top_k": 0, "max_tokens": 7, "seed": 42}
    drawer = settings(eyes)
    drawer.get_by_label("Temperature").fill("")
    drawer.get_by_label("Seed").fill("-1")
    expect(drawer.get_by_label("Seed")).to_have_attribute("aria-invalid", "true")
    expect(drawer).to_contain_text("A whole number from 0")
    close = drawer.get_by_role("button", name="Close")
    for leave in (close.click, *[lambda: eyes.page.keyboard.press("Escape")] * 3):
        leave()
        expect(drawer.get_by_label("Seed")).to_be_focused()
        expect(drawer.get_by_label("Seed")).to_have_value("-1")
    drawer.get_by_label("Seed").fill("43")
    eyes.page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    eyes.ask("More")
    expect(eyes.answer()).to_contain_text("You said: More")
    assert "temperature" not in wire.last
    assert wire.last["seed"] == 43
    eyes.page.get_by_role("link", name="New chat").click()
    eyes.ask("A new one")
    expect(eyes.answer()).to_contain_text("You said: A new one")
    assert wire.last["messages"] == [{"role": "user", "content": "A new one"}]
    assert (wire.last["top_p"], wire.last["model"]) == (0.5, "other-model")


def test_a_first_chat_starts_where_the_declaration_says_and_can_be_emptied(wire: Wire, look: Look) -> None:
    fields = [
        {"name": name, "type": "number", "label": {}, "help": {}, "required": False, "default": value}
        for name, value in {"temperature": 0.7, "top_p": 0.95, "max_tokens": 64, "seed": None}.items()
    ]
    wire.tasks = [{"name": "chat", "kind": "chat", "summary": {"en": "Chat", "zh": "聊天"}, "fields": fields}]
    eyes = look()
    eyes.ask("Hi")
    expect(eyes.answer()).to_contain_text("You said: Hi")
    assert {name: wire.last.get(name) for name in ("temperature", "top_p", "max_tokens", "seed")} == {
        "temperature": 0.7,
        "top_p": 0.95,
        "max_tokens": 64,
        "seed": None,
    }
    drawer = settings(eyes)
    expect(drawer.get_by_label("Temperature")).to_have_value("0.7")
    drawer.get_by_role("button", name="Leave all to the server").click()
    eyes.page.keyboard.press("Escape")
    eyes.page.reload()
    eyes.page.get_by_role("link", name="New chat").click()
    eyes.ask("Ho")
    expect(eyes.answer()).to_contain_text("You said: Ho")
    assert not {"temperature", "top_p", "max_tokens"} & wire.last.keys()


def test_retry_asks_the_same_again(wire: Wire, look: Look) -> None:
    eyes = look()
    eyes.ask("One")
    expect(eyes.answer()).to_contain_text("You said: One")
    eyes.ask("Two")
    expect(eyes.answer()).to_contain_text("You said: Two")
    eyes.answer().get_by_role("button", name="Answer again").click()
    expect(eyes.answer()).to_contain_text("You said: Two")
    expect(eyes.page.locator(".turn.answer")).to_have_count(2)
    assert len(wire.sent) == 3
    assert wire.sent[2] == wire.sent[1]
    assert [m["role"] for m in wire.last["messages"]] == ["user", "assistant", "user"]


def test_edit_resends_from_there_and_can_be_undone(wire: Wire, look: Look) -> None:
    eyes = look()
    for text in ("One", "Two"):
        eyes.ask(text)
        expect(eyes.answer()).to_contain_text(f"You said: {text}")
    first = eyes.page.locator(".turn.user").first
    first.hover()
    first.get_by_role("button", name="Edit").click()
    box = eyes.page.get_by_role("textbox", name="Edit your message")
    expect(box).to_be_focused()
    box.fill("Uno")
    box.press("Enter")
    expect(eyes.answer()).to_contain_text("You said: Uno")
    expect(eyes.page.locator(".turn")).to_have_count(2)
    assert wire.last["messages"] == [{"role": "user", "content": "Uno"}]
    eyes.page.get_by_role("button", name="Undo").click()
    expect(eyes.page.locator(".turn")).to_have_count(4)
    expect(eyes.answer()).to_contain_text("You said: Two")


def test_a_reload_keeps_the_conversation_and_the_settings(wire: Wire, look: Look) -> None:
    eyes = look()
    settings(eyes).get_by_label("Temperature").fill("0.3")
    eyes.page.keyboard.press("Escape")
    eyes.ask("Remember me")
    expect(eyes.answer()).to_contain_text("You said: Remember me")
    eyes.page.reload()
    expect(eyes.answer()).to_contain_text("You said: Remember me")
    expect(eyes.page.get_by_role("link", name="Remember me")).to_have_attribute("aria-current", "page")
    eyes.ask("Again")
    expect(eyes.answer()).to_contain_text("You said: Again")
    assert wire.last["temperature"] == 0.3
    assert len(wire.last["messages"]) == 3


def test_a_reload_in_the_middle_of_an_answer_keeps_its_beginning(wire: Wire, look: Look) -> None:
    wire.script = lambda body: [("text", "Half of"), ("wait", threading.Event())]
    eyes = look()
    eyes.ask("Go")
    expect(eyes.answer()).to_contain_text("Half of")
    eyes.page.reload()
    expect(eyes.answer()).to_contain_text("Half of")
    expect(eyes.answer()).to_contain_text("interrupted")


def test_several_conversations_at_once(wire: Wire, look: Look) -> None:
    gate = threading.Event()
    wire.script = lambda body: [("text", "slow "), ("wait", gate), ("text", "but sure")]
    eyes = look()
    eyes.ask("First chat")
    expect(eyes.answer()).to_contain_text("slow")
    eyes.page.get_by_role("link", name="New chat").click()
    expect(eyes.page.locator(".turn")).to_have_count(0)
    wire.script = None
    eyes.ask("Second chat")
    expect(eyes.answer()).to_contain_text("You said: Second chat")
    gate.set()
    eyes.page.get_by_role("link", name="First chat").click()
    expect(eyes.answer()).to_contain_text("slow but sure")
    eyes.page.go_back()
    expect(eyes.answer()).to_contain_text("You said: Second chat")
    eyes.page.get_by_role("button", name="Delete the chat “Second chat”").click()
    expect(eyes.page.get_by_role("link", name="Second chat")).to_have_count(0)
    expect(eyes.page.locator(".turn")).to_have_count(0)
    eyes.page.get_by_role("button", name="Undo").click()
    expect(eyes.answer()).to_contain_text("You said: Second chat")
    eyes.page.reload()
    expect(eyes.page.get_by_role("link", name=re.compile("(First|Second) chat"))).to_have_count(2)


def test_composing_a_character_does_not_send(wire: Wire, look: Look) -> None:
    eyes = look(locale="zh-CN")
    box = eyes.page.get_by_role("textbox", name="你的消息")
    box.focus()
    session = eyes.page.context.new_cdp_session(eyes.page)
    session.send("Input.imeSetComposition", {"text": "ni hao", "selectionStart": 6, "selectionEnd": 6})
    expect(box).to_have_value("ni hao")
    enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229}
    session.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **enter})
    box.evaluate(
        "box => box.dispatchEvent(new KeyboardEvent('keydown', "
        "{key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))"
    )
    session.send("Input.insertText", {"text": "你好"})
    expect(box).to_have_value("你好")
    assert wire.sent == []
    box.press("Shift+Enter")
    expect(box).to_have_value("你好\n")
    box.press("Enter")
    expect(eyes.answer()).to_contain_text("You said: 你好")
    assert len(wire.sent) == 1


HOSTILE = """<script>window.hacked = 1</script>
<img src=x onerror="window.hacked = 2">

[a](javascript:window.hacked=3) [b](data:text/html,<script>window.hacked=4</script>) [c](https://example.org/x)
![picture](https://example.org/p.png) <svg onload="window.hacked=5"><a xlink:href="javascript:1">
<a href="javascript:window.hacked=6">here</a> <iframe srcdoc="<script>parent.hacked=7</script>"></iframe>
<style>body { display: none }</style> <form action="https://example.org"><input name="x"></form>

| <b onmouseover=alert(1)>x</b> | y |
|---|---|
| `<i>` | [d](  javascript&colon;alert(1) ) |

```html"onload=alert(1)
<script>window.hacked = 8</script>
```
"""


def test_hostile_markdown_is_text(wire: Wire, look: Look) -> None:
    wire.script = lambda body: [("text", HOSTILE[at : at + 7]) for at in range(0, len(HOSTILE), 7)]
    eyes = look()
    eyes.ask("Attack")
    expect(eyes.answer()).to_contain_text("first after")
    prose = eyes.answer().locator(".prose")
    expect(prose).to_contain_text("<script>window.hacked = 1</script>")
    harmful = "script, img, iframe, style, form, input, [onerror], [onload], [onmouseover], [style]"
    expect(prose.locator(harmful)).to_have_count(0)
    expect(prose.locator(".block:not(.code) svg")).to_have_count(0)
    expect(prose.locator(".code code")).to_have_text("<script>window.hacked = 8</script>")
    links = prose.locator("a[href]")
    assert {link.get_attribute("href") for link in links.all()} <= {
        "https://example.org/x",
        "https://example.org/p.png",
    }
    assert links.first.get_attribute("rel") == "noopener noreferrer nofollow"
    assert eyes.page.evaluate("window.hacked") is None
    expect(eyes.page.locator("body")).to_be_visible()


def test_growing_markdown_ends_as_the_whole_text_reads(wire: Wire, look: Look) -> None:
    text = "# Head\n\nSome *words*.\n\n- a\n- b\n\n  more\n\n1. x\n2. y\n\n```py\na = 1\n\n\nb = 2\n```\n\n"
    text = (
        text * 6
        + "A [link] at the end.\r\n\r\n[link]: https://example.org/\n\n| a | b |\n|--:|---|\n| 1 | 2 |\n"
    )
    wire.script = lambda body: [("text", text[at : at + 5]) for at in range(0, len(text), 5)]
    eyes = look()
    eyes.ask("Write")
    expect(eyes.answer()).to_contain_text("first after")
    prose = eyes.answer().locator(".prose")
    expect(prose.locator("h1")).to_have_count(6)
    expect(prose.locator("pre")).to_have_count(6)
    expect(prose.locator("td")).to_have_count(2)
    expect(prose.get_by_role("link", name="link")).to_have_attribute("href", "https://example.org/")
    live = prose.inner_text()
    eyes.page.reload()
    expect(eyes.answer()).to_contain_text("first after")
    assert eyes.answer().locator(".prose").inner_text() == live


def test_the_view_follows_the_text_until_the_reader_scrolls(wire: Wire, look: Look) -> None:
    gates = [threading.Event(), threading.Event()]
    lines = [("text", f"line {n}\n\n") for n in range(60)]
    wire.script = lambda body: [
        *lines,
        ("wait", gates[0]),
        *lines,
        ("wait", gates[1]),
        ("text", "last words"),
    ]
    eyes = look()
    eyes.ask("Much")
    view = eyes.page.locator(".messages")
    expect(eyes.answer()).to_contain_text("line 59")
    gap = "v => v.scrollHeight - v.clientHeight - v.scrollTop"
    until(lambda: view.evaluate("v => v.scrollTop") > 500 and view.evaluate(gap) < 5)
    view.hover()
    eyes.page.mouse.wheel(0, -400)
    expect(eyes.page.get_by_role("button", name="Jump to the latest")).to_be_visible()
    before = view.evaluate("v => v.scrollTop")
    gates[0].set()
    expect(eyes.answer().locator(".block")).to_have_count(120)
    assert abs(view.evaluate("v => v.scrollTop") - before) < 2
    eyes.page.get_by_role("button", name="Jump to the latest").click()
    gates[1].set()
    expect(eyes.answer()).to_contain_text("last words")
    until(lambda: view.evaluate(gap) < 5)


def test_saving_a_chat_labels_it(wire: Wire, look: Look, tmp_path: Path) -> None:
    eyes = look()
    eyes.ask("Keep this")
    expect(eyes.answer()).to_contain_text("first after")
    eyes.page.get_by_label("More for this chat").click()
    with eyes.page.expect_download() as waiting:
        eyes.page.get_by_role("button", name="Save as Markdown").click()
    assert waiting.value.suggested_filename == "Keep this.md"
    text = waiting.value.path().read_text(encoding="utf-8")
    assert text.startswith("---\n")
    assert "AIGC: {" in text
    assert WORDS["en"] in text
    assert "You said: Keep this" in text
    eyes.page.get_by_label("More for this chat").click()
    with eyes.page.expect_download() as waiting:
        eyes.page.get_by_role("button", name="Save as JSON").click()
    saved = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(saved)
    assert (verify(saved).ok, verify(saved).content) == (True, "unchanged")
    saved.write_text(saved.read_text(encoding="utf-8").replace("You said", "I said"), encoding="utf-8")
    assert verify(saved).content == "changed"
