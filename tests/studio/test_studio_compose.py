"""The composing page in Chromium, by a real server with a composer of random weights."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from band import Band, Gate
from studio_server import Eyes, Wire, check_names, overflow
from tiny_composer import ABC

from tokenloom.sound.abc import read_tune
from tokenloom.sound.midi import read_midi, write_midi
from tokenloom.sound.score import Note, Score, Track, bar_numbers, seconds_at
from tokenloom.tasks import fields_json, tasks
from tokenloom.tasks.music import accompanied
from tokenloom.trust import label, read_label
from tokenloom.trust.notation import labels_in

pytestmark = [pytest.mark.browser, pytest.mark.slow]
expect: Any = pytest.importorskip("playwright.sync_api").expect
Look = Callable[..., Eyes]
PATIENT = 60_000
"""Milliseconds for a tune, where many tests run at once."""


@pytest.fixture(autouse=True)
def _patient() -> Iterator[None]:
    expect.set_options(timeout=PATIENT)
    yield
    expect.set_options(timeout=5000)


@pytest.fixture
def page(look: Look, stage: tuple[str, Band]) -> Any:
    page = look("/#/compose", base=stage[0]).page
    page.set_default_timeout(PATIENT)
    return page


def asked(page: Any, words: str, seed: str = "3") -> None:
    page.get_by_label("Words").fill(words)
    page.get_by_label("Seed").fill(seed)
    page.get_by_label("Words").press("Enter")


def composed(page: Any, words: str = "a reel in D, 6 bars", seed: str = "3") -> Any:
    asked(page, words, seed)
    tune = page.get_by_role("article", name=words)
    expect(tune.get_by_role("option")).not_to_have_count(0)
    expect(tune).not_to_have_attribute("aria-busy", "true")
    return tune


def saved(page: Any, tune: Any, form: str, place: Path) -> tuple[str, bytes]:
    tune.get_by_text("Save", exact=True).click()
    with page.expect_download() as waiting:
        tune.get_by_role("button", name=form).click()
    file = place / "file"
    waiting.value.save_as(file)
    return waiting.value.suggested_filename, file.read_bytes()


def notes(score: Score) -> list[tuple[int, int, int]]:
    return [(note.start, note.stop, note.pitch) for note in score.tracks[0].notes]


def test_a_tune_is_composed_seen_heard_and_saved(page: Any, tmp_path: Path) -> None:
    page.get_by_label("Bars", exact=True).fill("65")
    page.get_by_role("button", name="Compose", exact=True).click()
    expect(page.get_by_text("A whole number from 1 to 64, or empty.")).to_be_visible()
    expect(page.get_by_label("Bars", exact=True)).to_be_focused()
    page.get_by_label("Bars", exact=True).fill("")
    tune = composed(page, "a heavy reel in D, 6 bars")
    expect(tune.get_by_text("without effect: heavy")).to_be_visible()
    for figure in ("Reel", "D major", "6 bars", "seed 3", "composer", "AI-generated · AI生成"):
        expect(tune.locator(".by").get_by_text(figure, exact=True)).to_be_visible()
    name, midi = saved(page, tune, "MIDI", tmp_path)
    score = read_midi(midi)
    assert (name, labels_in(midi, "midi")[0].kind) == ("a heavy reel in D, 6 bars 3.mid", "1")
    assert tune.get_by_role("option").count() == len(score.bars)
    assert tune.locator(".roll-note").count() >= len(score.tracks[0].notes), "one, or one a row"
    expect(tune.locator(".roll-head")).to_have_count(0)
    tune.get_by_role("button", name="Play").click()
    expect(tune.locator(".roll-head")).to_have_count(1)
    tune.get_by_role("button", name="Pause").click()
    place = tune.get_by_role("slider")
    at = float(place.input_value())
    assert 0 < at < score.seconds
    place.press("End")
    assert float(place.input_value()) >= score.seconds
    name, wav = saved(page, tune, "WAV", tmp_path)
    assert (name[-4:], wav[:4]) == (".wav", b"RIFF")
    assert read_label(wav) is not None
    _, abc = saved(page, tune, "ABC", tmp_path)
    assert len(read_tune(abc.decode()).bars) == len(score.bars)


def test_bars_are_written_anew_and_the_earlier_version_stays(page: Any, tmp_path: Path) -> None:
    tune = composed(page)
    before = read_midi(saved(page, tune, "MIDI", tmp_path)[1])
    first = bar_numbers(before)[0]
    anew = tune.get_by_role("button", name="Write anew")
    expect(anew).to_be_disabled()
    boxes = [tune.get_by_role("option").nth(at - first).bounding_box() for at in (2, 3)]
    page.mouse.move(boxes[0]["x"] + 9, boxes[0]["y"] + 40)
    page.mouse.down()
    page.mouse.move(boxes[1]["x"] + 9, boxes[1]["y"] + 40, steps=4)
    page.mouse.up()
    expect(tune.get_by_role("option", selected=True)).to_have_count(2)
    assert (tune.get_by_label("First bar").input_value(), tune.get_by_label("Last bar").input_value()) == (
        "2",
        "3",
    )
    anew.click()
    versions = tune.get_by_role("radio")
    expect(versions).to_have_count(2)
    expect(tune.get_by_role("radio", name="2 bars 2–3 anew")).to_be_checked()
    expect(tune.locator(".roll-fresh")).to_have_count(2)
    after = read_midi(saved(page, tune, "MIDI", tmp_path)[1])
    start, stop = before.bars[2 - first][0], before.bars[3 - first][1]

    def outside(score: Score) -> list[tuple[int, int, int]]:
        return [note for note in notes(score) if note[1] <= start or note[0] >= stop]

    assert outside(after) == outside(before)
    assert notes(after) != notes(before)
    tune.get_by_role("radio", name="1 composed").check(force=True)
    expect(tune.locator(".roll-fresh")).to_have_count(0)
    assert read_midi(saved(page, tune, "MIDI", tmp_path)[1]) == before
    tune.get_by_role("button", name="Chords and bass").click()
    expect(tune.get_by_role("radio", name="3 with chords")).to_be_checked()
    expect(tune.locator(".tracks li")).to_have_text(["Melody", "Chords", "Bass"])
    expect(tune.get_by_role("button", name="Chords and bass")).to_have_count(0)


def test_what_was_generated_says_so_when_it_is_opened(page: Any) -> None:
    data = label("midi", write_midi(read_tune(ABC))).data
    file = {"name": "made.mid", "mimeType": "audio/midi", "buffer": data}
    page.get_by_label("Open a score").set_input_files(file)
    tune = page.get_by_role("article", name="made.mid")
    expect(tune.locator(".by").get_by_text("AI-generated")).to_be_visible()


def test_the_roll_fills_while_a_tune_is_composed(page: Any, stage: tuple[str, Band]) -> None:
    band = stage[1]
    band.gate = gate = Gate(60)
    try:
        asked(page, "a reel, 48 bars")
        tune = page.get_by_role("article", name="a reel, 48 bars")
        expect(tune.locator(".roll-note")).not_to_have_count(0)
        expect(tune).to_have_attribute("aria-busy", "true")
        early, bars = tune.locator(".roll-note").count(), tune.locator(".bar").count()
        gate.open()
        expect(tune).not_to_have_attribute("aria-busy", "true")
        whole = tune.locator(".roll-note").count()
        assert early < whole, "notes came while others were being written"
        assert bars >= tune.get_by_role("option").count() > 1, "in bars that were there"
        band.gate = gate = Gate(60)
        tune.get_by_label("Bars to add").fill("12")
        tune.get_by_role("button", name="Continue").click()
        more = "n => document.querySelectorAll('article[aria-busy=true] .roll-note').length > n"
        page.wait_for_function(more, arg=whole)
        gate.open()
        expect(tune.get_by_role("radio", name="2 continued")).to_be_checked()
    finally:
        band.gate = None
        gate.open()


def test_bars_are_marked_by_keys(page: Any) -> None:
    tune = composed(page)
    roll = tune.get_by_role("listbox")
    roll.focus()
    selected = tune.get_by_role("option", selected=True)
    for keys, count in ((["Home", "ArrowRight", "Space"], 1), (["Shift+ArrowRight", "Shift+ArrowRight"], 3)):
        for one in keys:
            page.keyboard.press(one)
        expect(selected).to_have_count(count)
    assert roll.get_attribute("aria-activedescendant") == selected.last.get_attribute("id")
    assert (selected.first.get_attribute("aria-label") or "").startswith("Bar ")
    page.keyboard.press("Escape")
    expect(selected).to_have_count(0)
    page.keyboard.press("Control+a")
    expect(selected).to_have_count(tune.get_by_role("option").count())
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(selected).to_have_count(1)
    page.keyboard.press("Space")
    expect(selected).to_have_count(0)
    tune.get_by_label("First bar").fill("5")
    tune.get_by_label("First bar").press("Enter")
    expect(selected).to_have_count(1)
    expect(tune.get_by_label("Last bar")).to_have_value("5")
    tune.get_by_label("Last bar").fill("99")
    tune.get_by_label("Last bar").press("Tab")
    expect(tune.get_by_label("Last bar")).to_have_value("6")


def test_a_score_of_ones_own(page: Any, tmp_path: Path) -> None:
    given = accompanied(read_tune(ABC))
    choose = page.get_by_label("Open a score")
    choose.set_input_files({"name": "own.mid", "mimeType": "audio/midi", "buffer": write_midi(given)})
    tune = page.get_by_role("article", name="own.mid")
    expect(tune.get_by_role("option")).to_have_count(8)
    expect(tune.get_by_role("slider")).to_be_visible()
    expect(tune.get_by_text("AI-generated")).to_have_count(0)
    expect(tune.locator(".by")).to_contain_text("A dorian")
    name, wav = saved(page, tune, "WAV", tmp_path)
    assert (name, read_label(wav)) == ("own.wav", None), "nothing of it was generated"
    name, midi = saved(page, tune, "MIDI", tmp_path)
    assert name == "own.mid"
    assert [notes(one) for one in (read_midi(midi), given)] == [notes(given)] * 2
    assert read_tune(saved(page, tune, "ABC", tmp_path)[1].decode()).keys == given.keys
    expect(tune.get_by_role("option").first).to_have_attribute("aria-label", "Bar 1: C5 A4 A4 B4 C5 D5 E5 D5")
    tune.get_by_label("Bars to add").fill("2")
    tune.get_by_role("button", name="Continue").click()
    expect(tune.get_by_role("option")).to_have_count(10)
    expect(tune.get_by_role("radio", name="2 continued")).to_be_checked()
    expect(tune.locator(".roll-fresh")).to_have_count(2)
    made = read_midi(saved(page, tune, "MIDI", tmp_path)[1])
    assert notes(made)[: len(given.tracks[0].notes)] == notes(given)
    choose.set_input_files({"name": "own.abc", "mimeType": "text/plain", "buffer": ABC.encode()})
    tune = page.get_by_role("article", name="own.abc")
    expect(tune.get_by_role("option")).to_have_count(8)
    tune.get_by_role("button", name="Play").click()
    expect(tune.locator(".roll-head")).to_have_count(1)
    tune.get_by_role("button", name="Pause").click()
    tune.get_by_label("First bar").fill("3")
    tune.get_by_label("Last bar").fill("4")
    tune.get_by_label("Last bar").press("Tab")
    tune.get_by_role("button", name="Write anew").click()
    expect(tune.get_by_role("option")).to_have_count(8)
    expect(tune.locator(".roll-fresh")).to_have_count(2)


def test_a_file_that_is_no_score_is_said_by_the_server(look: Look, stage: tuple[str, Band]) -> None:
    page = look("/#/compose", base=stage[0], calm=False).page
    file = {"name": "notes.mid", "mimeType": "audio/midi", "buffer": b"MThd\x00\x00"}
    page.get_by_label("Open a score").set_input_files(file)
    tune = page.get_by_role("article", name="notes.mid")
    expect(tune.get_by_role("alert")).to_contain_text("truncated MIDI file")
    expect(tune.get_by_role("slider")).to_have_count(0)
    tune.get_by_role("button", name="Show and play it as it is").click()
    expect(tune.get_by_role("alert")).to_contain_text("truncated MIDI file")
    tune.get_by_role("button", name="Remove “notes.mid”").click()
    expect(page.get_by_role("article")).to_have_count(0)
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(tune).to_be_visible()


def test_what_is_stopped_leaves_what_was_there(page: Any) -> None:
    tune = composed(page)
    page.route("**/v1/audio/music", lambda route: None)  # it never answers
    tune.get_by_role("button", name="Continue").click()
    expect(tune).to_have_attribute("aria-busy", "true")
    expect(tune.get_by_text("The model is going on with it")).to_be_visible()
    expect(page.get_by_role("button", name="Compose", exact=True)).to_have_count(0)
    tune.get_by_role("button", name="Stop").click()
    expect(tune.get_by_text("You stopped this.")).to_be_visible()
    expect(tune.get_by_role("option")).not_to_have_count(0)
    tune.get_by_role("button", name="Continue").click()
    expect(tune.get_by_text("You stopped this.")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(tune.get_by_text("You stopped this.")).to_be_visible()
    page.unroute("**/v1/audio/music")
    page.get_by_role("link", name="Speech", exact=True).click()
    page.get_by_role("link", name="Compose", exact=True).click()
    page.get_by_role("button", name="切换到中文").click()
    expect(page.get_by_role("heading", name="作曲", level=1)).to_be_visible()
    page.get_by_label("描述", exact=True).fill("别的")
    tune.get_by_role("button", name="再用这些设置").click()
    expect(page.get_by_label("描述", exact=True)).to_have_value("a reel in D, 6 bars")
    expect(tune.get_by_text("D 大调")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_width_and_names(scheme: str, look: Look, stage: tuple[str, Band], tmp_path: Path) -> None:
    page = look(
        "/#/compose",
        base=stage[0],
        color_scheme=scheme,
        viewport={"width": 360, "height": 740},
        has_touch=True,
    ).page
    page.set_default_timeout(PATIENT)
    tune = composed(page)
    tune.get_by_role("button", name="Chords and bass").click()
    expect(tune.get_by_role("radio")).to_have_count(2)
    tune.get_by_role("option").nth(2).tap()
    expect(tune.get_by_role("option", selected=True)).to_have_count(1)
    assert overflow(page) <= 0
    check_names(page)
    page.set_viewport_size({"width": 1280, "height": 800})
    assert overflow(page) <= 0
    page.screenshot(path=tmp_path / f"compose-{scheme}.png")


def scores() -> dict[str, bytes]:
    """Files with a pickup, changes of metre and tempo, and drums."""
    plain = read_tune(ABC)
    moved = Score(
        (Track((Note(0, 12, 60, 80), Note(12, 36, 64, 60), Note(48, 24, 67, 90), Note(96, 40, 72, 80))),),
        ((0, 3, 4), (48, 6, 8)), ((0, "F", "major"),), ((0, 120.0), (48, 90.0)), 12,
    )  # fmt: skip
    beaten = replace(moved, tracks=(*moved.tracks, Track((Note(0, 6, 36, 90),), 0, True)))
    return {"plain": write_midi(plain), "moved": write_midi(moved), "beaten": write_midi(beaten)}


def test_the_page_reads_midi_as_the_server_does(wire: Wire, look: Look) -> None:
    page = look("/#/compose").page
    code = """async (text) => {
      const { readMidi, secondsAt, tickAt } = await import("/js/midi.js");
      const tune = readMidi(Uint8Array.from(atob(text), (one) => one.charCodeAt(0)));
      if (!tune) return null;
      const ends = tune.bars.map((bar) => secondsAt(tune, bar.stop));
      return JSON.stringify({ ...tune, ends, ticks: ends.map((one) => tickAt(tune, one)) });
    }"""

    def read(data: bytes) -> Any:
        found = page.evaluate(code, base64.b64encode(data).decode())
        return found and json.loads(found)

    for name, data in scores().items():
        score, tune = read_midi(data), read(data)
        bars = [(bar["number"], bar["start"], bar["stop"]) for bar in tune["bars"]]
        assert bars == [(number, *bar) for number, bar in zip(bar_numbers(score), score.bars, strict=True)], (
            name
        )
        mine = sorted((one["start"], one["stop"], one["pitch"], one["drums"]) for one in tune["notes"])
        assert mine == sorted(
            (one.start, one.stop, one.pitch, track.drums) for track in score.tracks for one in track.notes
        ), name
        assert tune["ends"] == pytest.approx([seconds_at(score, stop) for _, stop in score.bars], abs=1e-4)
        assert tune["ticks"] == pytest.approx([stop for _, stop in score.bars], abs=1e-6)
        for cut in range(0, len(data), 7):
            assert read(data[:cut]) is None, f"{name} cut at {cut}"
    assert read(b"X:1\nK:C\nCDEF|") is None


def test_without_a_composer_the_page_says_how_to_get_one(wire: Wire, look: Look) -> None:
    page = look().page
    page.get_by_role("link", name="Compose", exact=True).click()
    expect(page).to_have_title("Compose · Tokenloom")
    expect(page.get_by_text("No composer is on offer here.")).to_be_visible()
    expect(page.get_by_text("loom studio --model composer")).to_be_visible()
    wire.models = ["smollm2", "composer", "aloud"]
    wire.cards = {"composer": {"kind": "music", "chat": False}, "aloud": {"kind": "speech"}}
    wire.tasks = [fields_json(tasks()["compose"])]
    expect(page.get_by_label("Words")).to_be_visible(timeout=12_000)
    expect(page.get_by_role("link", name="Compose", exact=True)).to_have_count(1)
    page.get_by_role("link", name="New chat").click()
    expect(page.get_by_label("Model").locator("option")).to_have_text(["smollm2"])
