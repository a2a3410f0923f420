"""The page in Chromium: languages, keyboard, widths, colours, keys, tasks, and what it says of failures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from studio_server import TASK, Eyes, Wire

pytestmark = pytest.mark.browser
expect: Any = pytest.importorskip("playwright.sync_api").expect
Look = Callable[..., Eyes]


def test_the_browsers_language_is_the_first_and_the_switch_is_kept(wire: Wire, look: Look) -> None:
    eyes = look(locale="zh-CN")
    html = eyes.page.locator("html")
    expect(html).to_have_attribute("lang", "zh-CN")
    expect(eyes.page.get_by_role("link", name="新对话")).to_be_visible()
    expect(eyes.page.get_by_text("AI生成：回答可能有误")).to_be_visible()
    expect(eyes.page.get_by_text("只会英语")).to_be_visible()
    expect(eyes.page.get_by_role("button", name="解释 Explain how rainbows form")).to_be_visible()
    eyes.page.get_by_label("模型").select_option("other-model")
    expect(eyes.page.get_by_text("只会英语")).to_have_count(0)
    expect(eyes.page.get_by_role("button", name="解释 用简单的话解释彩虹")).to_be_visible()
    eyes.page.get_by_label("模型").select_option("smollm2")
    eyes.page.get_by_role("button", name="Switch to English").click()
    expect(html).to_have_attribute("lang", "en")
    expect(eyes.page.get_by_role("link", name="New chat")).to_be_visible()
    expect(eyes.page.get_by_text("AI-generated · AI生成. Answers")).to_be_visible()
    expect(eyes.page.get_by_text("speaks English only")).to_be_visible()
    eyes.page.reload()
    expect(html).to_have_attribute("lang", "en")
    expect(eyes.page.get_by_role("link", name="New chat")).to_be_visible()


def test_everything_goes_by_keyboard(wire: Wire, look: Look) -> None:
    eyes = look()
    page = eyes.page
    expect(eyes.box()).to_be_focused()
    page.keyboard.type("Hello")
    page.keyboard.press("Enter")
    expect(eyes.answer()).to_contain_text("You said: Hello")
    expect(eyes.box()).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("textbox", name="Edit your message")).to_be_focused()
    page.keyboard.press("Escape")
    expect(eyes.box()).to_be_focused()
    names: list[str] = []
    page.locator(".skip").focus()
    for _ in range(20):
        page.keyboard.press("Tab")
        at = "a => a.getAttribute('aria-label') || a.innerText || a.name || a.id || a.tagName"
        focused = page.locator(":focus")
        if focused.count() == 0:
            break
        names.append(focused.evaluate(at))
        width = focused.evaluate(
            "a => getComputedStyle(a.closest('form') && a.id ? a.closest('form') : a).outlineWidth"
        )
        ring = focused.evaluate("a => a.matches(':focus-visible')")
        assert ring, names[-1]
        assert names[-1] == "composer" or width != "0px", names[-1]
    for expected in (
        "New chat",
        "Hello",
        "Settings",
        "More for this chat",
        "Messages",
        "Copy",
        "Edit",
        "Answer again",
    ):
        assert expected in names, (expected, names)
    page.get_by_role("button", name="Settings").focus()
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name="Settings of this chat")
    expect(drawer).to_be_visible()
    drawer.get_by_label("Temperature").focus()
    page.keyboard.press("ArrowUp")
    expect(drawer.get_by_label("Temperature")).to_have_value("1")
    page.keyboard.press("ArrowUp")
    expect(drawer.get_by_label("Temperature")).to_have_value("1.1")
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(page.get_by_role("button", name="Settings")).to_be_focused()


NAME = """c => c.getAttribute('aria-label') || c.innerText.trim()
  || [...(c.labels ?? [])].map((label) => label.innerText).join()"""


def test_every_control_has_a_name_and_the_parts_have_their_roles(wire: Wire, look: Look) -> None:
    wire.tasks = [TASK]
    eyes = look()
    eyes.ask("Hello")
    expect(eyes.answer()).to_contain_text("first after")
    page = eyes.page
    for role in ("main", "navigation"):
        expect(page.get_by_role(role)).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    for path in ("/", "/#/task/write"):
        page.goto(wire.base + path)
        expect(page.get_by_role("main")).to_be_visible()
        for control in page.locator("button, a[href], input, select, textarea, summary").all():
            assert control.evaluate(NAME), control.evaluate("c => c.outerHTML")
        ids = page.locator("[id]").evaluate_all("all => all.map(one => one.id)")
        assert len(ids) == len(set(ids))
        for one in page.locator("[aria-describedby]").all():
            assert page.locator(f"[id='{one.get_attribute('aria-describedby')}']").count() == 1
    assert page.locator("img:not([alt])").count() == 0


PALETTE = """() => {
  const style = getComputedStyle(document.documentElement);
  const names = ["ground", "side", "paper", "ink", "ink-2", "indigo", "on-indigo", "indigo-wash",
    "indigo-deep", "weld-ink", "weld-wash", "madder", "madder-wash", "line", "line-2"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
}"""


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's ratio of two #rrggbb colours."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_have_contrast(scheme: str, wire: Wire, look: Look) -> None:
    eyes = look(color_scheme=scheme)
    of = eyes.page.evaluate(PALETTE)
    assert (contrast(of["ground"], "#000000") > 10) == (scheme == "light")
    on = {
        "ground": ["ink", "ink-2", "indigo", "weld-ink", "madder"],
        "side": ["ink", "ink-2"],
        "paper": ["ink", "ink-2", "indigo", "madder"],
        "indigo-wash": ["ink", "indigo-deep"],
        "weld-wash": ["weld-ink"],
        "madder-wash": ["madder"],
        "indigo": ["on-indigo"],
        "indigo-deep": ["on-indigo"],
        "line": ["ink-2"],
    }
    poor = [(text, ground, round(contrast(of[text], of[ground]), 2)) for ground in on for text in on[ground]
            if contrast(of[text], of[ground]) < 4.5]  # fmt: skip
    assert poor == []
    assert contrast(of["line-2"], of["paper"]) >= 3, "the borders of fields"
    other = "Colours: dark" if scheme == "light" else "Colours: light"
    for _ in range(3):
        if eyes.page.get_by_role("button", name=other).count():
            break
        eyes.page.get_by_role("button", name="Colours:").click()
    switched = eyes.page.evaluate(PALETTE)
    assert (contrast(switched["ground"], "#000000") > 10) == (scheme == "dark")
    eyes.page.reload()
    assert eyes.page.evaluate(PALETTE) == switched


@pytest.mark.parametrize("width", [320, 390])
def test_phone_width_has_a_drawer_and_no_sideways_scroll(width: int, wire: Wire, look: Look) -> None:
    long = "unbroken" * 40
    wire.script = lambda body: [("text", f"{long}\n\n```\n{long}\n```\n\n|a|b|c|\n|-|-|-|\n|{long}|2|3|\n")]
    wire.tasks = [TASK]
    eyes = look(viewport={"width": width, "height": 720}, has_touch=True, is_mobile=True)
    page = eyes.page

    def overflow() -> int:
        return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    assert overflow() <= 0
    expect(page.get_by_role("link", name="New chat")).to_be_hidden()
    eyes.ask(long)
    expect(eyes.answer()).to_contain_text("first after")
    assert overflow() <= 0
    assert page.locator(".messages").evaluate("m => m.scrollWidth - m.clientWidth") <= 0
    page.get_by_role("button", name="Open the menu").click()
    menu = page.get_by_role("dialog", name="Conversations and tasks")
    expect(menu.get_by_role("link", name="New chat")).to_be_visible()
    menu.get_by_role("link", name="write").click()
    expect(menu).to_be_hidden()
    expect(page.get_by_label("Beginning")).to_be_visible()
    assert overflow() <= 0
    page.go_back()
    page.get_by_role("button", name="Settings").click()
    expect(page.get_by_label("Temperature")).to_be_visible()
    assert overflow() <= 0


def refusal(words: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": words, "type": "invalid_request_error", "code": code}}


def test_a_refused_message_is_marked_and_never_sent_again(wire: Wire, look: Look) -> None:
    too_long = refusal("The prompt has 9000 tokens; 8192 are allowed.", "context_length_exceeded")
    eyes = look(calm=False)
    page = eyes.page
    eyes.ask("First")
    expect(eyes.answer()).to_contain_text("You said: First")
    wire.script = lambda body: [("status", (400, too_long, {}))]
    eyes.ask("Too long")
    expect(eyes.answer()).to_contain_text("The server refused the request (400).")
    expect(eyes.answer()).to_contain_text("The prompt has 9000 tokens; 8192 are allowed.")
    expect(eyes.answer()).to_contain_text("Edit the message or start a new chat.")
    expect(eyes.answer()).not_to_contain_text("AI-generated")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    expect(eyes.answer().get_by_role("button", name="Answer again")).to_have_count(0)
    expect(page.locator(".turn.user.unsent")).to_contain_text("Not sent")
    wire.script = None
    eyes.ask("Short")
    expect(eyes.answer()).to_contain_text("You said: Short")
    assert [m["content"] for m in wire.last["messages"]] == ["First", "You said: First ", "Short"]
    page.reload()
    refused = page.locator(".turn.user.unsent")
    refused.get_by_role("button", name="Remove").click()
    expect(page.locator(".turn")).to_have_count(4)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".turn")).to_have_count(6)
    refused.get_by_role("button", name="Edit").click()
    page.get_by_role("textbox", name="Edit your message").fill("Brief")
    page.keyboard.press("Enter")
    expect(eyes.answer()).to_contain_text("You said: Brief")
    expect(refused).to_have_count(0)
    assert [m["content"] for m in wire.last["messages"]] == ["First", "You said: First ", "Brief"]


def test_a_model_that_cannot_be_loaded_is_not_said_to_be_loading(wire: Wire, look: Look) -> None:
    failed = refusal("smollm2 cannot be loaded: the file is damaged", "model_load_failed")
    wire.script = lambda body: [("status", (503, failed, {}))]
    eyes = look(calm=False)
    eyes.ask("Hello")
    expect(eyes.answer()).to_contain_text("The model could not be loaded.")
    expect(eyes.answer()).to_contain_text("the file is damaged")
    expect(eyes.page.get_by_role("button", name="Try again")).to_have_count(0)
    down = refusal("The engine is being started again.", "engine_unavailable")
    wire.script = lambda body: [("status", (503, down, {"Retry-After": "2"}))]
    eyes.ask("Hello?")
    expect(eyes.answer()).to_contain_text("The server could not answer (503).")
    expect(eyes.answer()).to_contain_text("Try again in 2 s.")
    wire.script = None
    eyes.page.get_by_role("button", name="Try again").click()
    expect(eyes.answer()).to_contain_text("You said: Hello?")


def test_errors_come_in_the_servers_words_with_a_way_on(wire: Wire, look: Look) -> None:
    busy = {"error": {"message": "slow down"}}
    wire.script = lambda body: [("status", (429, busy, {"Retry-After": "7"}))]
    eyes = look(calm=False)
    eyes.ask("Too long")
    expect(eyes.answer()).to_contain_text("The server is busy.")
    expect(eyes.answer()).to_contain_text("Try again in 7 s.")
    wire.script = lambda body: [("text", "A beginning"), ("error", "the engine died")]
    eyes.page.get_by_role("button", name="Try again").click()
    expect(eyes.answer()).to_contain_text("the engine died")
    expect(eyes.answer()).to_contain_text("A beginning")
    wire.script = lambda body: [("text", "Cut "), ("drop", None)]
    eyes.page.get_by_role("button", name="Try again").click()
    expect(eyes.answer()).to_contain_text("The connection ended before the answer did.")
    wire.script = None
    eyes.page.get_by_role("button", name="Try again").click()
    expect(eyes.answer()).to_contain_text("You said: Too long")
    expect(eyes.page.locator(".turn")).to_have_count(2)
    assert all([m["content"] for m in body["messages"]] == ["Too long"] for _, body in wire.sent)


def test_a_model_that_loads_is_waited_for(wire: Wire, look: Look) -> None:
    loading = ("status", (503, {"error": {"message": "smollm2 is loading."}}, {"Retry-After": "1"}))
    wire.script = lambda body: [loading] if len(wire.sent) < 2 else [("text", "Here I am.")]
    eyes = look(calm=False)
    eyes.ask("Are you there?")
    expect(eyes.answer()).to_contain_text("The model is being loaded")
    expect(eyes.answer()).to_contain_text("Here I am.")
    assert len(wire.sent) == 2


def test_an_engine_that_goes_and_comes_is_said(wire: Wire, look: Look) -> None:
    eyes = look(calm=False)
    page = eyes.page
    page.route("**/*", lambda route: route.abort("connectionrefused"))
    eyes.ask("Anyone?")
    expect(eyes.answer()).to_contain_text("Nothing answers at this address.")
    expect(page.get_by_role("alert").filter(has_text="Not connected to the engine")).to_be_visible()
    expect(page.get_by_text("Not reachable", exact=True)).to_be_visible()
    page.unroute("**/*")
    wire.health = 503
    expect(page.get_by_role("alert").filter(has_text="The engine is starting")).to_be_visible()
    wire.health = 200
    expect(page.get_by_text("Engine ready")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(eyes.answer()).to_contain_text("You said: Anyone?")


def test_a_server_that_died_is_said_before_anything_is_asked(wire: Wire, look: Look) -> None:
    eyes = look(calm=False)
    expect(eyes.page.get_by_text("Engine ready")).to_be_visible()
    eyes.page.route("**/*", lambda route: route.abort("connectionrefused"))
    expect(eyes.page.get_by_text("Not reachable", exact=True)).to_be_visible(timeout=6500)


def test_who_declines_to_give_a_key_is_asked_again_when_writing(wire: Wire, look: Look) -> None:
    wire.key = "sk-right"
    eyes = look(calm=False)
    dialog = eyes.page.get_by_role("dialog", name="This server asks for a key")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    expect(eyes.page.get_by_text("The server wants a valid key.")).to_be_visible()
    eyes.ask("Hi")
    dialog.get_by_label("Key").fill("sk-right")
    dialog.get_by_label("Key").press("Enter")
    expect(eyes.page.get_by_label("Model")).to_have_value("smollm2")
    eyes.box().press("Enter")
    expect(eyes.answer()).to_contain_text("You said: Hi")


def test_a_key_is_asked_for_and_kept_for_the_tab_alone(wire: Wire, look: Look) -> None:
    wire.key = "sk-right"
    eyes = look(calm=False)
    dialog = eyes.page.get_by_role("dialog", name="This server asks for a key")
    dialog.get_by_label("Key").fill("sk-wrong")
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog).to_contain_text("no such key")
    dialog.get_by_label("Key").fill("sk-right")
    dialog.get_by_label("Key").press("Enter")
    expect(dialog).to_be_hidden()
    expect(eyes.page.get_by_label("Model")).to_have_value("smollm2")
    eyes.ask("Hi")
    expect(eyes.answer()).to_contain_text("You said: Hi")
    kept = eyes.page.evaluate("[JSON.stringify(localStorage), JSON.stringify(sessionStorage)]")
    assert "sk-right" not in kept[0]
    assert "sk-right" in kept[1]
    eyes.page.get_by_role("button", name="Forget the key").click()
    assert "sk-right" not in eyes.page.evaluate("JSON.stringify(sessionStorage)")


def test_a_full_store_is_said(wire: Wire, look: Look) -> None:
    eyes = look()
    eyes.page.evaluate(
        "() => { for (let n = 1 << 20, i = 0; n > 0; n >>= 1) for (let more = true; more; i++)"
        " try { localStorage.setItem('x' + i, 'x'.repeat(n)) } catch { more = false } }"
    )
    eyes.ask("One more")
    expect(eyes.answer()).to_contain_text("You said: One more")
    expect(eyes.page.get_by_role("alert").filter(has_text="storage for this page is full")).to_be_visible()
    eyes.page.evaluate(
        "Object.keys(localStorage).filter(k => k[0] == 'x').forEach(k => localStorage.removeItem(k))"
    )
    eyes.ask("And now")
    expect(eyes.answer()).to_contain_text("You said: And now")
    expect(eyes.page.get_by_role("alert").filter(has_text="full")).to_have_count(0)


def test_less_motion_is_respected(wire: Wire, look: Look) -> None:
    wire.script = lambda body: [("text", "A long"), ("wait", threading.Event())]
    eyes = look(reduced_motion="reduce")
    eyes.ask("Go on")
    expect(eyes.answer()).to_contain_text("A long")
    endless = (
        "() => document.getAnimations().filter((a) => a.effect.getTiming().iterations === Infinity).length"
    )
    assert eyes.page.evaluate(endless) == 0
