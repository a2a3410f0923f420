"""`loom draw`, `edit` and `restyle` with a diffusion model of random weights, run as the program is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("diffusers")

from tiny_diffusion import SIZE, tiny_diffusion

from tokenloom import cli
from tokenloom.trust import verify

Loom = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_diffusion(tmp_path_factory.mktemp("models") / "sd")


@pytest.fixture
def loom(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path
) -> Loom:
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    Image.new("RGB", (64, 64), "red").save("in.png")
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 32))
    mask.save("mask.png")

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["loom", *words, "--model", str(model)])
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_drawing(loom: Loom) -> None:
    status, said, _ = loom(
        "draw", "a red fox", "--steps", "2", "--negative", "rain", "-n", "2", "-o", "fox.png", "--json"
    )
    assert status == 0
    facts = [json.loads(line) for line in said.splitlines()]
    assert [one["size"] for one in facts] == [f"{SIZE}x{SIZE}"] * 2
    assert all(verify(Path(one["file"])).ok for one in facts)
    assert loom("draw", "a fox", "--steps", "1", "--size", "320x256", "-o", "wide.webp")[0] == 0
    assert Image.open("wide.webp").size == (320, 256)


def test_changing_a_picture(loom: Loom) -> None:
    part = loom(
        "edit", "in.png", "a hat", "--mask", "mask.png", "--steps", "2", "--size", "256", "-o", "a.png"
    )
    whole = loom(
        "edit", "in.png", "a sea", "--strength", "0.6", "--steps", "4", "--size", "256", "-o", "b.png"
    )
    style = loom("restyle", "in.png", "--style", "wet watercolour", "--steps", "2", "--size", "256")
    assert [one[0] for one in (part, whole, style)] == [0, 0, 0], (part, whole, style)
    kept = Image.open("a.png").convert("RGB").crop((200, 140, 256, 200))
    assert kept.getcolors() == [(56 * 60, (255, 0, 0))]
    assert Image.open("b.png").convert("RGB").getpixel((220, 160)) != (255, 0, 0)
    assert Path("in-style.png").is_file()
    learned = loom("edit", "in.png", "a sea", "--steps", "2", "--json", "-o", "c.png")
    assert json.loads(learned[1])["size"] == f"{SIZE}x{SIZE}"


def test_what_it_has_not(loom: Loom) -> None:
    for words, said in (
        (("draw", "a fox", "--style", "fluent"), "style: found 'fluent'"),
        (("draw", "a fox", "--best-of", "3"), "best_of: found 3"),
        (("draw", "a fox", "--size", "100"), "multiples of 8"),
        (("draw", "a fox", "--size", "large"), "size: found 'large'"),
        (("describe", "in.png"), "describes nothing"),
        (("write", "hello"), "diffusion model"),
    ):
        status, _, error = loom(*words)
        assert status != 0
        assert said in " ".join(error.split()), (words, error)
