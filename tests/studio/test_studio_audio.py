"""The page of speech in Chromium, and speech in the chat: texts read aloud, recordings written down."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from band import MISSING, SAID, Band, recording
from studio_server import Eyes, Wire, check_names, overflow

from tokenloom.sound import recognise
from tokenloom.sound.audio import encode, read_audio
from tokenloom.tasks import fields_json, tasks

pytestmark = [pytest.mark.browser, pytest.mark.slow]
expect: Any = pytest.importorskip("playwright.sync_api").expect
Look = Callable[..., Eyes]
TEXT = "It was a bright cold day in April, and the clocks were striking thirteen."
PATIENT = 60_000
"""Milliseconds, where many tests run at once."""


@pytest.fixture(autouse=True)
def _patient() -> Iterator[None]:
    expect.set_options(timeout=PATIENT)
    yield
    expect.set_options(timeout=5000)


@pytest.fixture
def page(look: Look, stage: tuple[str, Band]) -> Any:
    page = look("/#/sound", base=stage[0], permissions=["microphone"]).page
    page.set_default_timeout(PATIENT)
    return page


@pytest.fixture
def listening(stage: tuple[str, Band], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Band:
    monkeypatch.setattr(recognise, "recogniser_folder", lambda name: tmp_path)
    return stage[1]


def read_aloud(page: Any, text: str = TEXT) -> Any:
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Read aloud", exact=True).click()
    work = page.get_by_role("article").first
    expect(work.get_by_role("button", name="Play")).to_be_visible()
    return work


def saved(page: Any, work: Any, form: str, place: Path) -> tuple[str, bytes]:
    work.get_by_text("Save", exact=True).click()
    with page.expect_download() as waiting:
        work.get_by_role("button", name=form, exact=True).click()
    waiting.value.save_as(place / "file")
    return waiting.value.suggested_filename, (place / "file").read_bytes()


def test_a_text_is_read_aloud(page: Any, tmp_path: Path) -> None:
    expect(page).to_have_title("Speech · Tokenloom")
    page.get_by_role("button", name="Read aloud", exact=True).click()
    expect(page.get_by_text("Fill this in first.")).to_be_visible()
    expect(page.get_by_label("Voice").locator("option")).to_have_text(
        ["that of the text's language", "heart (English)"]
    )
    page.get_by_label("Voice").select_option("heart")
    page.get_by_label("Speed").fill("9")
    page.get_by_role("button", name="Read aloud", exact=True).click()
    expect(page.get_by_text("A number from 0.25 to 4, or empty.")).to_be_visible()
    page.get_by_label("Speed").fill("0.5")
    work = read_aloud(page)
    expect(work.get_by_text("voice heart")).to_be_visible()
    expect(work.get_by_text("AI-generated · AI生成")).to_be_visible()
    expect(work.locator(".wave path")).to_have_count(2)
    heard = work.locator(".wave clipPath rect")
    assert float(heard.get_attribute("width")) == 0
    work.get_by_role("button", name="Play").click()
    expect(heard).to_have_attribute("width", re.compile(r"^[1-9][0-9]"))
    work.get_by_role("button", name="Pause").click()
    box = work.locator(".wave").bounding_box()
    work.locator(".wave").click(position={"x": box["width"] / 2, "y": 20})
    long = float(work.get_by_role("slider").get_attribute("max"))
    assert float(work.get_by_role("slider").input_value()) == pytest.approx(long / 2, rel=0.05)
    name, data = saved(page, work, "FLAC", tmp_path)
    assert name == "It was a bright cold day in April, and the clocks were str….flac"
    samples, rate = read_audio(data)
    assert len(samples) / rate > long + 0.3, "tones say at the start that it is AI-generated"
    work.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("article")).to_have_count(0)


def test_a_language_without_a_voice_is_said(look: Look, stage: tuple[str, Band]) -> None:
    page = look("/#/sound", base=stage[0], calm=False).page
    page.get_by_label("Text", exact=True).fill("你好，今天天气很好。")
    page.get_by_role("button", name="Read aloud", exact=True).click()
    alert = page.get_by_role("article").get_by_role("alert")
    expect(alert).to_contain_text("there is none for Chinese")
    expect(alert).to_contain_text("espeak-ng")


def test_without_a_recogniser_the_page_says_which_to_pull(look: Look, stage: tuple[str, Band]) -> None:
    page = look("/#/sound", base=stage[0], calm=False).page
    page.get_by_role("radio", name="Write down").check(force=True)
    page.get_by_label("Choose a sound file").set_input_files(recording())
    work = page.get_by_role("article", name="memo.wav")
    expect(work.get_by_role("alert")).to_contain_text(MISSING)
    expect(work.get_by_role("button", name="Play")).to_be_visible()


def test_a_file_is_written_down(page: Any, listening: Band, tmp_path: Path) -> None:
    page.get_by_role("radio", name="Write down").check(force=True)
    page.get_by_label("Language spoken").select_option("zh")
    page.get_by_label("Choose a sound file").set_input_files(recording())
    work = page.get_by_role("article", name="memo.wav")
    expect(work.get_by_text(SAID)).to_be_visible()
    expect(work.get_by_text("chinese")).to_be_visible()
    assert listening.heard[-1] == recording()["buffer"]
    times = len(listening.heard)
    name, srt = saved(page, work, "SRT", tmp_path)
    assert name == "memo.srt"
    assert srt.decode().startswith("1\n00:00:00,000 --> 00:00:02,500\nThe quick brown fox")
    assert saved(page, work, "WebVTT", tmp_path)[1].startswith(b"WEBVTT")
    assert saved(page, work, "Text", tmp_path)[1].decode() == f"{SAID}\n"
    assert len(listening.heard) == times, "saving does not listen again"
    page.get_by_label("Into English").check()
    page.get_by_label("Choose a sound file").set_input_files(recording())
    expect(page.get_by_role("article").first.get_by_text("A fox.")).to_be_visible()


def test_speech_is_recorded_and_written_down(page: Any, listening: Band) -> None:
    page.get_by_role("radio", name="Write down").check(force=True)
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.locator(".progress")).to_contain_text("Recording")
    expect(page.locator(".progress .figure")).not_to_have_text("0 s")
    page.get_by_role("button", name="End the recording").click()
    work = page.get_by_role("article", name="recording.webm")
    expect(work.get_by_text(SAID)).to_be_visible()
    assert listening.heard[-1].startswith(b"\x1a\x45\xdf\xa3"), "WebM"
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.locator(".progress")).to_contain_text("Recording")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Record", exact=True)).to_be_visible()
    expect(page.get_by_role("article")).to_have_count(1)


def test_what_is_stopped_leaves_the_words(page: Any) -> None:
    page.route("**/v1/audio/speech", lambda route: None)  # it never answers
    page.get_by_label("Text", exact=True).fill(TEXT)
    page.get_by_label("Text", exact=True).press("Control+Enter")
    expect(page.get_by_text("The voice is reading")).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("You stopped this.")).to_be_visible()
    expect(page.get_by_label("Text", exact=True)).to_have_value(TEXT)
    page.unroute("**/v1/audio/speech")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_width_and_names(scheme: str, look: Look, stage: tuple[str, Band], tmp_path: Path) -> None:
    narrow = {"width": 360, "height": 740}
    page = look("/#/sound", base=stage[0], color_scheme=scheme, viewport=narrow).page
    read_aloud(page, "unbroken" * 30)
    assert overflow(page) <= 0
    check_names(page)
    page.get_by_role("radio", name="Write down").check(force=True)
    assert overflow(page) <= 0
    check_names(page)
    page.screenshot(path=tmp_path / f"sound-{scheme}.png")


@pytest.fixture
def speaking(wire: Wire) -> Wire:
    wire.tasks = [fields_json(tasks()["speak"])]
    return wire


def tone(seconds: float) -> bytes:
    import numpy as np

    return encode(
        np.sin(np.arange(round(24_000 * seconds)) * 0.05).astype(np.float32)[:, None], 24_000, "mp3"
    )


def test_an_answer_of_the_chat_is_read_aloud(speaking: Wire, look: Look) -> None:
    eyes = look()
    page = eyes.page
    asked: list[dict[str, Any]] = []

    def speech(route: Any) -> None:
        asked.append(json.loads(route.request.post_data))
        route.fulfill(body=tone(20), content_type="audio/mpeg")

    page.route("**/v1/audio/speech", speech)
    speaking.script = lambda body: [("text", "**Bold** words.\n\n```py\nx = 1\n```\n\n- a [link](/x)")]
    eyes.ask("Hello")
    answer = eyes.answer()
    answer.get_by_role("button", name="Read aloud").click()
    expect(answer.get_by_role("button", name="Stop reading")).to_be_visible()
    assert asked[0]["input"].split() == ["Bold", "words.", "a", "link"]
    assert asked[0]["label"] == "hidden", "the words stand beside it"
    answer.get_by_role("button", name="Stop reading").click()
    expect(answer.get_by_role("button", name="Read aloud")).to_be_visible()


def test_words_are_spoken_into_the_chat(speaking: Wire, look: Look) -> None:
    eyes = look(permissions=["microphone"], calm=False)
    page = eyes.page
    answers = [
        {"status": 200, "json": {"text": " and tell me why. "}},
        {"status": 404, "json": {"error": {"message": MISSING}}},
    ]
    page.route("**/v1/audio/transcriptions", lambda route: route.fulfill(**answers.pop(0)))
    eyes.box().fill("Name a bird")
    page.get_by_role("button", name="Speak instead of typing").click()
    page.get_by_role("button", name="End the recording").click()
    expect(eyes.box()).to_have_value("Name a bird and tell me why.")
    page.get_by_role("button", name="Speak instead of typing").click()
    page.get_by_role("button", name="End the recording").click()
    expect(page.locator(".trouble")).to_have_text(MISSING)


def test_a_server_without_sound_says_so(wire: Wire, look: Look) -> None:
    page = look("/#/sound").page
    expect(page.get_by_text("Nothing speaks or listens on this server.")).to_be_visible()
    page.get_by_role("link", name="New chat").click()
    expect(page.get_by_role("button", name="Speak instead of typing")).to_have_count(0)
