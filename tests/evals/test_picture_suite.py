"""The whole table of a picture model: by a toy of known quality, and by a random model from the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny_painter as tiny
import torch
from data.drawn_sprites import drawn_sprites
from PIL import Image
from typer.testing import CliRunner

from tokenloom.codec.folder import open_codec
from tokenloom.data.picture_words import TRAINED_STYLES, word
from tokenloom.data.sprites import Sprites, save_sprites
from tokenloom.engine.request import Sampling
from tokenloom.evals.open import open_model
from tokenloom.evals.picture_artist import Artist
from tokenloom.evals.picture_report import lines, markdown, write_report
from tokenloom.evals.picture_sets import stickers
from tokenloom.evals.picture_suite import Found, Sizes, measure, measure_styles
from tokenloom.tokens.image import PictureTokens

SMALL = Sizes(
    drawn=40,
    checked=40,
    known=60,
    rebuilt=20,
    grouped=40,
    restyled=20,
    described=40,
    edited=30,
    swept=40,
    sheet=6,
)


@pytest.fixture(scope="module")
def sprites() -> Sprites:
    return drawn_sprites(40)


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "SIZE", 64)  # the size of made pictures
        return tiny.tiny_painter(tmp_path_factory.mktemp("painter") / "model", context=640)


class Lossless:
    """A codec that loses nothing, with the codes of brightness beside."""

    n_codes = 16

    def __init__(self) -> None:
        self.held: dict[bytes, np.ndarray] = {}

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        codes = pictures[:, ::8, ::8, 0].reshape(len(pictures), 64).astype(np.int64) // 16
        for number, (row, picture) in enumerate(zip(codes, pictures, strict=True)):
            row[:3] = (len(self.held) % 16, len(self.held) // 16 % 16, number % 16)
            self.held[row.tobytes()] = picture
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return np.stack([self.held[row.tobytes()] for row in codes])


class Blind:
    """A judge that gives every text and picture a vector of its own."""

    def _rows(self, things: Sequence[bytes]) -> np.ndarray:
        rows = [
            np.random.default_rng(int.from_bytes(thing[:64], "big")).standard_normal(32) for thing in things
        ]
        found = np.stack(rows)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._rows([text.encode() for text in texts])

    def pictures(self, pictures: np.ndarray) -> np.ndarray:
        return self._rows([picture[30, 10:26].tobytes() for picture in pictures])


class Connoisseur(Blind):
    """A judge that knows the style of pictures and sees nothing else."""

    def __init__(self, of: dict[bytes, str]) -> None:
        self.of = of

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        names = [{word("styles", style, lang) for lang in ("en", "zh")} for style in TRAINED_STYLES]
        return np.array(
            [[any(name in text for name in some) for some in names] for text in texts], np.float32
        )

    def pictures(self, pictures: np.ndarray) -> np.ndarray:
        styles = [self.of[picture.tobytes()] for picture in pictures]
        return np.array([[style == known for known in TRAINED_STYLES] for style in styles], np.float32)


class Echo:
    """Draws noise, restyles nothing, says nothing new, edits only inside the mask."""

    def draw(self, prompts: Sequence[str], styles: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        assert len(prompts) == len(styles) == len(seeds)
        return np.stack([np.random.default_rng(s).integers(0, 256, (64, 64, 4), np.uint8) for s in seeds])

    def restyle(
        self, pictures: np.ndarray, styles: Sequence[str], seeds: Sequence[int], drafts: int = 1
    ) -> np.ndarray:
        return pictures[:, None].repeat(drafts, 1)

    def describe(self, pictures: np.ndarray, langs: Sequence[str], likeliest: int = 1) -> list[list[str]]:
        return [["a thing"] * likeliest for _ in langs]

    def edit(
        self, pictures: np.ndarray, masks: np.ndarray, words: Sequence[str], seeds: Sequence[int]
    ) -> np.ndarray:
        out = pictures.copy()
        out[masks] = 9
        return out


@pytest.fixture(scope="module")
def found(sprites: Sprites) -> Found:
    ways = {"as it is": Echo().draw}
    return measure(Echo(), Lossless(), Blind(), sprites, SMALL, ways=ways)


def test_a_judge_of_styles_is_known_by_that(sprites: Sprites) -> None:
    every = [scene for which in ("train", "pairs", "emoji") for scene in stickers(sprites, which)]
    facts = measure_styles(Connoisseur({s.pixels.tobytes(): s.record.style for s in every}), sprites, 40)
    assert facts.pop("chance") == pytest.approx(1 / 3)
    assert {name: part["value"] for name, part in facts.items()} == {
        "seen": 1.0,
        "held-out pairs": 1.0,
        "held-out emoji": 1.0,
    }


def test_a_model_of_known_quality_gets_the_figures_it_deserves(found: Found) -> None:
    facts = found.facts
    for part in facts["drawing"].values():
        assert part["right_among_20"]["value"] < 0.3
        assert part["n"] == 40
    assert facts["reconstruction"]["held-out emoji"]["psnr_db"]["value"] == 60  # equal: as high as it counts
    assert facts["attributes"]["any"]["real"]["value"] > 0.9
    assert facts["attributes"]["codec"]["value"] == facts["attributes"]["any"]["real"]["value"]
    assert facts["attributes"]["any"]["drawn"]["value"] < 0.3
    assert facts["copies"]["drawn"]["near_copies"]["value"] == 0
    assert facts["restyled"]["nearer_by_pixels"]["value"] == 0
    assert facts["restyled"]["one_draft"]["nearer_by_pixels"]["value"] == 0
    assert facts["described"]["held-out pairs"]["exact"] == 0
    for part in ("seen", "held-out pairs", "held-out emoji"):
        assert facts["styles"][part]["value"] < 0.7, "a blind judge guesses one of three"
    assert facts["edited"]["outside"]["unchanged"] == 1
    assert facts["edited"]["n"] == 30
    assert [row["way"] for row in facts["sweep"]] == ["as it is"]
    json.dumps(facts, allow_nan=False)


def test_the_report_says_what_was_found_and_shows_sheets(found: Found, tmp_path: Path) -> None:
    about = {"model": "toy", "codes of a picture": 64}
    files = write_report(tmp_path / "report", found, "How good toy is", about)
    text = (tmp_path / "report" / "pictures.md").read_text()
    assert "22.5 dB: kept" in text
    assert "60%: missed" in text
    assert "no FID" in text
    for shown in re.findall(r"\]\((sheets/[^)]+)\)", text):
        with Image.open(tmp_path / "report" / shown) as sheet:
            assert sheet.width > 500
    assert len(files) == 2 + len(found.sheets)
    read = json.loads((tmp_path / "report" / "pictures.json").read_text())
    again = markdown(
        {k: v for k, v in read.items() if k != "about"}, "How good toy is", read["about"], found.sheets
    )
    assert again == text  # from the file alone
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({row.count("|") for row in table.strip().split("\n")}) == 1
    told = dict(lines(found.facts))
    assert told["checks by pixels"] == found.facts["attributes"]["any"]["drawn"]["value"]
    assert all(isinstance(value, float) for value in told.values())


def artist(model: Path, opened: object) -> Artist:
    tokens = PictureTokens.open(model)
    return Artist(opened.core, tokens, open_codec(model / "codec"), 2.0, Sampling(temperature=1.0))  # type: ignore[attr-defined]


def test_an_artist_draws_many_as_it_draws_one(painter: Path) -> None:
    with open_model(painter) as opened:
        by = artist(painter, opened)
        prompts, styles = ["a red fox", "一只蓝色的鱼", "two owls"], ["noto", "fluent", "openmoji"]
        many = by.draw(prompts, styles, [5, 6, 7])
        assert many.shape == (3, 64, 64, 4)
        for at in range(3):
            alone = by.draw(prompts[at : at + 1], styles[at : at + 1], [5 + at])
            assert np.array_equal(alone[0], many[at])
        assert not np.array_equal(by.draw(prompts, styles, [8, 9, 10]), many)
        assert not np.array_equal(by.at(guidance=1.0).draw(prompts, styles, [5, 6, 7]), many)


def test_an_artist_keeps_what_is_not_masked_and_describes(painter: Path) -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (2, 64, 64, 4), np.uint8)
    masks = np.zeros((2, 64, 64), bool)
    masks[:, 16:40, 8:20] = True
    with open_model(painter) as opened:
        by = artist(painter, opened)
        edited = by.edit(pictures, masks, ["a fox", "a hat"], [1, 2])
        assert edited.shape == pictures.shape
        # Made pictures' codes are those of the source outside of the places that the mask touches.
        codes = by.encode(pictures).reshape(2, 8, 8)
        drawn = by._write(
            [by.tokens.edit(codes[0].ravel(), np.zeros(64, bool), "a fox")],
            [1],
            2.0,
            Sampling(temperature=1.0),
        )
        assert np.array_equal(by.tokens.codes_of(drawn[0][0]), codes[0].ravel())
        drafts = by.restyle(pictures, ["noto", "noto"], [3, 4], drafts=3)
        every = by.restyle(pictures.repeat(3, 0), ["noto"] * 6, [9, 10, 11, 12, 13, 14])
        assert np.array_equal(drafts.reshape(every[:, 0].shape), every[:, 0])
        words = by.describe(pictures, ["en", "zh"])
        assert [len(some) for some in words] == [1, 1]
        assert words == by.describe(pictures, ["en", "zh"])
        assert [len(set(some)) for some in by.describe(pictures, ["en", "zh"], 4)] == [4, 4]


@pytest.mark.slow
def test_the_command_measures_a_whole_model(painter: Path, sprites: Sprites, tmp_path: Path) -> None:
    import typer

    from tokenloom.cli.picture_eval import image_eval, image_judge

    (tmp_path / "sprites").mkdir()
    pixels = np.stack([sprites.pixels(at) for at in range(len(sprites))])
    save_sprites(tmp_path / "sprites", sprites.sprites, pixels, [])
    app = typer.Typer()
    app.command("eval")(image_eval)
    app.command("judge")(image_judge)
    options = ["--sprites", str(tmp_path / "sprites")]
    places = ["--out", str(tmp_path / "out"), "--ledger", str(tmp_path / "ledger.jsonl")]
    ran = CliRunner().invoke(app, ["eval", str(painter), *options, *places, "--share", "0.05"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.output.strip().split("\n")[-1])
    assert told["about"]["codes of a picture"] == 64
    assert 0 <= told["figures"]["checks by pixels"] <= 1
    assert (tmp_path / "out" / "pictures.md").is_file()
    ran = CliRunner().invoke(app, ["judge", str(painter), *options, "--n", "40"])
    assert ran.exit_code == 0, ran.output
    assert "held-out emoji" in json.loads(ran.output.strip().split("\n")[-1])
