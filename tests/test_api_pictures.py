"""Pictures by the Python API, by a model of random weights: whole whatever is asked, the same for a seed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_painter import PLACES, SIZE, tiny_painter

import tokenloom
from tokenloom.api import Model
from tokenloom.trust import read_label, verify


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_painter(tmp_path_factory.mktemp("models") / "painter")


@pytest.fixture(scope="module")
def painter(folder: Path) -> Iterator[Model]:
    with tokenloom.load(folder) as model:
        yield model


def png(width: int = 64, height: int = 64, colour: tuple[int, ...] = (200, 30, 30, 255)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def mask(width: int = 64, height: int = 64) -> bytes:
    """The upper left quarter is white."""
    image = Image.new("L", (width, height), 0)
    image.paste(255, (0, 0, width // 2, height // 2))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_the_same_seed_draws_the_same_and_choices_differ(painter: Model) -> None:
    first = painter.draw("a red fox", n=4, seed=7)
    again = painter.draw("a red fox", n=4, seed=7)
    alone = painter.draw("a red fox", seed=7)
    assert [one.codes.tolist() for one in first] == [one.codes.tolist() for one in again]
    assert alone[0].codes.tolist() == first[0].codes.tolist(), "one alone is the first of many"
    assert len({tuple(one.codes) for one in first}) == 4
    assert first[0].codes.tolist() != painter.draw("a red fox", seed=8)[0].codes.tolist()
    for one in first:
        assert one.pixels.shape == (SIZE, SIZE, 4)
        assert one.codes.shape == (PLACES,)
        assert (one.seed, one.prompt, one.score) == (7, "a red fox", None)
    assert len({tuple(one.codes) for one in painter.draw("a red fox", temperature=0, n=3)}) == 1


def test_words_style_and_guidance_all_count(painter: Model) -> None:
    def codes(prompt: str, **options: object) -> list[int]:
        return painter.draw(prompt, seed=3, **options)[0].codes.tolist()

    plain = codes("a red fox")
    assert codes("一只红色的狐狸") != plain
    assert codes("a red fox", style="noto") != plain
    assert codes("a red fox", guidance=1.0) != plain
    assert codes("a red fox", guidance=2.0) == plain, "the model's own generation_config.json says 2"
    assert codes("a red fox", top_k=1) == codes("a red fox", temperature=0)


def test_the_best_of_many_is_the_judges_choice(painter: Model) -> None:
    best = painter.draw("a red fox", n=2, best_of=3, seed=1)
    all_six = painter.draw("a red fox", n=6, seed=1)
    hands = painter.pictures._hands
    assert hands is not None
    scores = hands.result().judge(["a red fox"], np.stack([one.pixels for one in all_six]))[0]
    groups = [scores[:3], scores[3:]]
    assert sorted(float(one.score or 0) for one in best) == pytest.approx(sorted(g.max() for g in groups))
    assert best[0].score >= best[1].score, "the best comes first"  # type: ignore[operator]


def test_an_edit_leaves_the_rest_as_it_was(painter: Model) -> None:
    source = png(colour=(10, 120, 240, 255))
    done = painter.edit(source, "with a hat", mask=mask(), seed=5, n=2)
    large = done[0].large(512)
    plain = np.asarray(Image.open(io.BytesIO(source)).resize((512, 512)))
    assert np.array_equal(large[300:, 300:], plain[300:, 300:]), "outside the mask nothing changed"
    assert not np.array_equal(large[:200, :200], plain[:200, :200])
    hands = painter.pictures._hands
    assert hands is not None
    own = hands.result().encode(np.full((1, SIZE, SIZE, 4), (10, 120, 240, 255), np.uint8))[0]
    side = int(PLACES**0.5)
    inside = np.zeros((side, side), bool)
    inside[: side // 2, : side // 2] = True
    assert np.array_equal(done[0].codes[~inside.ravel()], own[~inside.ravel()]), "known codes are copied"
    assert not np.array_equal(done[0].codes, done[1].codes)


def test_what_is_clear_is_a_mask_of_its_own(painter: Model) -> None:
    image = Image.open(io.BytesIO(png())).copy()
    image.paste((0, 0, 0, 0), (0, 0, 32, 32))
    assert painter.edit(image, "a hat", seed=1)[0].marked is not None
    with pytest.raises(ValueError, match="mask: missing"):
        painter.edit(png(), "a hat")


def test_restyle_vary_and_describe(painter: Model) -> None:
    assert painter.restyle(png(), "twemoji", seed=1, n=2)[1].codes.shape == (PLACES,)
    assert len(painter.pictures.vary(png(), seed=1, n=2)) == 2
    found = painter.describe(png(), lang="zh")
    again = painter.describe(png(), lang="zh", seed=9)
    assert found.text == again.text, "the likeliest words do not depend on the seed"
    assert found.completion_tokens <= 64
    assert painter.describe(png(), max_tokens=3).completion_tokens <= 3


def test_files_are_labelled_and_named_by_their_ending(painter: Model, tmp_path: Path) -> None:
    one = painter.draw("a red fox", seed=7)[0]
    for name, kind in (("fox.png", "PNG"), ("fox.webp", "WEBP"), ("fox.jpg", "JPEG")):
        path = one.save(tmp_path / name, size=256, lang="zh")
        assert Image.open(path).format == kind
        assert Image.open(path).size == (256, 256)
        report = verify(path)
        assert report.ok
        assert report.visible
    assert read_label(one.data("png")) is not None
    with pytest.raises(ValueError, match=r"'fox\.tiff'; a picture's file ends in \.png"):
        one.save(tmp_path / "fox.tiff")
    with pytest.raises(ValueError, match="size: found 63; allowed: 64 to 1024"):
        one.save(tmp_path / "fox.png", size=63)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": " "}, "prompt: it is empty"),
        ({"prompt": "x" * 4000}, "prompt: found 4000 tokens, .* allowed: 256"),
        (
            {"prompt": "fox", "style": "openmoji"},
            "style: found 'openmoji', which is kept out of training .*; allowed: fluent, noto, twemoji, clip",
        ),
        ({"prompt": "fox", "style": "vivid"}, "style: found 'vivid'; allowed: fluent, noto"),
        (
            {"prompt": "a red fox in openmoji style"},
            "prompt: it asks for the style openmoji .*; allowed: fluent, noto, twemoji, clipart, or words",
        ),
        ({"prompt": "一只狐狸，线描风格"}, "prompt: it asks for the style openmoji .*outlined"),
        ({"prompt": "fox", "n": 0}, "n: found 0; allowed: a whole number from 1 to 64"),
        ({"prompt": "fox", "n": 64, "best_of": 5}, "best_of: found 5; .* from 1 to 4"),
        ({"prompt": "fox", "guidance": float("nan")}, "guidance: found nan"),
        ({"prompt": "fox", "temperature": -1}, "temperature: found -1"),
        ({"prompt": "fox", "top_p": 0}, "top_p: found 0"),
        ({"prompt": "fox", "seed": 2**63}, "seed: found 9223372036854775808"),
    ],
)
def test_a_wish_that_cannot_be_met_names_its_field(
    painter: Model, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        painter.draw(**options)  # type: ignore[arg-type]


def test_a_model_without_a_judge_draws_but_does_not_choose(tmp_path: Path) -> None:
    with tokenloom.load(tiny_painter(tmp_path / "plain", judge=False, depth=2)) as model:
        one = model.draw("a red fox", seed=1)[0]
        assert one.codes.shape == (2 * PLACES,)
        with pytest.raises(ValueError, match=r"best_of: found 2; .*plain has no judge"):
            model.draw("a red fox", best_of=2)


def test_another_codec_is_refused(tmp_path: Path) -> None:
    folder, other = tiny_painter(tmp_path / "one"), tiny_painter(tmp_path / "two", seed=1)
    (folder / "codec").rename(tmp_path / "old")
    (other / "codec").rename(folder / "codec")
    with tokenloom.load(folder) as model, pytest.raises(ValueError, match="learned the codes of another"):
        model.draw("a red fox")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prompt=st.text(min_size=1, max_size=12).filter(lambda text: text.strip() != ""),
    style=st.sampled_from([None, "fluent", "clipart"]),
    guidance=st.floats(0, 20),
    temperature=st.floats(0, 2),
    top_k=st.integers(0, 80),
    seed=st.integers(-(2**63), 2**63 - 1),
)
def test_no_picture_is_ever_malformed(
    painter: Model, prompt: str, style: str, guidance: float, temperature: float, top_k: int, seed: int
) -> None:
    options = {"guidance": guidance, "temperature": temperature, "top_k": top_k, "seed": seed}
    one = painter.draw(prompt, style=style, **options)[0]
    assert one.codes.shape == (PLACES,)
    assert one.codes.min() >= 0
    assert one.codes.max() < 60
    assert one.pixels.shape == (SIZE, SIZE, 4)
