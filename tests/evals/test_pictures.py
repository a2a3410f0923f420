"""Measures of pictures on toys whose answer is known, and against slow direct formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import linalg, ndimage

from tokenloom.data.picture_words import COLOURS
from tokenloom.evals import pictures as px
from tokenloom.evals.picture_checks import (
    PLACES,
    Wish,
    check,
    count,
    foreground,
    main_colour,
    parts,
    place,
    shares,
)
from tokenloom.evals.picture_features import frechet, group_recall, nearest_pictures, right_among

RGB = {
    "red": (220, 30, 40), "orange": (245, 130, 20), "yellow": (250, 215, 40), "green": (50, 160, 60),
    "blue": (40, 90, 220), "purple": (130, 50, 180), "pink": (250, 150, 190), "brown": (120, 72, 30),
    "black": (20, 20, 22), "white": (250, 250, 250), "grey": (128, 128, 130),
}  # fmt: skip


def random_pictures(n: int, size: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 4), dtype=np.uint8)


def plain(colour: tuple[int, int, int], size: int = 64, alpha: int = 255) -> np.ndarray:
    return np.full((size, size, 4), (*colour, alpha), np.uint8)


# --- pixels -----------------------------------------------------------------------------------------------


def test_psnr_of_a_known_difference() -> None:
    a, b = plain((100, 100, 100))[None], plain((110, 100, 100))[None]
    assert px.psnr(a, b)[0] == pytest.approx(20 * math.log10(255 / (10 / math.sqrt(3))))
    assert px.psnr(a, a)[0] == math.inf
    assert px.mean_db(np.array([math.inf, 20.0])) == 40.0
    assert px.rms(a, b)[0] == pytest.approx(10 / math.sqrt(3))


def test_what_is_clear_is_white_whatever_its_colour() -> None:
    a, b = plain((255, 0, 0), alpha=0)[None], plain((255, 255, 255))[None]
    assert px.psnr(a, b)[0] == math.inf


def test_psnr_of_a_part() -> None:
    a = plain((0, 0, 0))[None]
    b = a.copy()
    b[0, :8, :, :3] = 90
    outside = np.ones((1, 64, 64), bool)
    outside[0, :8] = False
    assert px.psnr(a, b, outside)[0] == math.inf
    assert px.psnr(a, b, ~outside)[0] == pytest.approx(20 * math.log10(255 / 90))
    with pytest.raises(ValueError, match="where"):
        px.psnr(a, b, np.zeros((1, 64, 64), bool))


def slow_ssim(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Wang et al. 2004 window by window: mean of SSIM, mean of contrast times structure."""
    steps = np.arange(-5, 6)
    gauss = np.exp(-(steps[:, None] ** 2 + steps[None] ** 2) / (2 * 1.5**2))
    gauss /= gauss.sum()
    whole, structure = [], []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            u, v = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mu, mv = (gauss * u).sum(), (gauss * v).sum()
            su, sv = (gauss * (u - mu) ** 2).sum(), (gauss * (v - mv) ** 2).sum()
            both = (gauss * (u - mu) * (v - mv)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            cs = (2 * both + c2) / (su + sv + c2)
            structure.append(cs)
            whole.append(cs * (2 * mu * mv + c1) / (mu**2 + mv**2 + c1))
    return float(np.mean(whole)), float(np.mean(structure))


def test_ssim_is_the_papers() -> None:
    a = random_pictures(3)
    b = np.clip(a.astype(int) + np.random.default_rng(1).integers(-60, 60, a.shape), 0, 255).astype(np.uint8)
    found = px.ssim(a, b)
    for row, x, y in zip(found, px.luma(a), px.luma(b), strict=True):
        assert row == pytest.approx(slow_ssim(x, y)[0], abs=1e-9)
    assert px.ssim(a, a) == pytest.approx(1.0)


def test_ms_ssim_is_the_papers_over_the_scales_that_fit() -> None:
    a = np.stack([ndimage.gaussian_filter(p, (4, 4, 0)) for p in random_pictures(2, 64)])
    b = np.clip(a.astype(int) + np.random.default_rng(1).integers(-9, 9, a.shape), 0, 255).astype(np.uint8)
    weights = np.array([0.0448, 0.2856, 0.3001])
    weights /= weights.sum()
    for row, x, y in zip(px.ms_ssim(a, b), px.luma(a), px.luma(b), strict=True):
        wanted = 1.0
        for scale, weight in enumerate(weights):
            whole, structure = slow_ssim(x, y)
            wanted *= max(0.0, whole if scale == 2 else structure) ** weight
            x, y = (z.reshape(z.shape[0] // 2, 2, -1, 2).mean((1, 3)) for z in (x, y))
        assert row == pytest.approx(wanted, abs=1e-9)


def test_pictures_that_do_not_fit_are_refused() -> None:
    a = random_pictures(2)
    for wrong in (a[:1], a.astype(float), a[..., :3], a[:, :8]):
        with pytest.raises(ValueError, match="allowed"):
            px.psnr(a, wrong)
    with pytest.raises(ValueError, match="11 pixels"):
        px.ssim(a[:, :8, :8], a[:, :8, :8])


def test_code_use_counts_codes_and_their_evenness() -> None:
    even = px.code_use(np.arange(10).repeat(7), 10)
    assert even.used == 1.0
    assert even.perplexity == pytest.approx(10)
    half = px.code_use(np.array([[0, 0], [3, 3]]), 10)
    assert half.used == 0.2
    assert half.perplexity == pytest.approx(2)
    assert half.bits == pytest.approx(1)
    for wrong in ([10], [-1], []):
        with pytest.raises(ValueError, match="codes"):
            px.code_use(np.array(wrong, np.int64), 10)


# --- features ---------------------------------------------------------------------------------------------


def unit_rows(n: int, width: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, width))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_right_among_is_sure_chance_or_never() -> None:
    captions = unit_rows(400, 64)
    own, keys = np.arange(400), np.arange(400)
    assert right_among(captions, captions, own, keys).all()
    assert not right_among(captions, -captions, own, keys).any()
    assert right_among(captions, unit_rows(400, 64, 9), own, keys).mean() == pytest.approx(0.05, abs=0.04)
    assert not right_among(captions, np.zeros((400, 64), np.float32), own, keys).any()  # all tie


def test_twins_are_never_among_the_others() -> None:
    captions = np.repeat(unit_rows(25, 32), 4, 0)  # each said four times
    keys = np.arange(100) // 4
    assert right_among(captions, captions, np.arange(100), keys).all()
    assert not right_among(captions, captions, np.arange(100), np.arange(100)).all()
    with pytest.raises(ValueError, match="25 that differ"):
        right_among(captions, captions, np.arange(100), keys, among=26)


def test_the_others_do_not_depend_on_the_pictures() -> None:
    captions, keys = unit_rows(60, 16), np.arange(60)
    first = right_among(captions, unit_rows(60, 16, 3), keys, keys)
    some = right_among(
        captions, np.concatenate([unit_rows(60, 16, 3)[:30], unit_rows(30, 16, 4)]), keys, keys
    )
    assert np.array_equal(first[:30], some[:30])


def test_frechet_against_scipy_and_by_hand() -> None:
    random = np.random.default_rng(0)
    a, b = (
        random.standard_normal((300, 6)),
        random.standard_normal((200, 6)) @ random.standard_normal((6, 6)) + 1,
    )
    root = linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum()
    wanted += np.trace(np.cov(a, rowvar=False) + np.cov(b, rowvar=False) - 2 * root)
    assert frechet(a, b) == pytest.approx(wanted, rel=1e-8)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a, a + 2) == pytest.approx(6 * 4, rel=1e-9)
    assert frechet(a[:, :1], 3 * a[:, :1]) == pytest.approx(
        4 * a[:, 0].mean() ** 2 + 4 * a[:, 0].var(ddof=1), rel=1e-9
    )
    with pytest.raises(ValueError, match="two rows"):
        frechet(a[:1], b)


def test_group_recall_is_balanced() -> None:
    known = np.concatenate([unit_rows(1, 16, 1).repeat(8, 0), unit_rows(1, 16, 2).repeat(8, 0)])
    groups = ["food"] * 8 + ["animals"] * 8
    asked = np.concatenate([known[:1].repeat(90, 0), known[8:9].repeat(5, 0), known[:1].repeat(5, 0)])
    found = group_recall(asked, ["food"] * 90 + ["animals"] * 10, known, groups)
    assert found == {"animals": 0.5, "food": 1.0}
    with pytest.raises(ValueError, match="flags"):
        group_recall(known, ["flags"] * 16, known, groups)


def test_the_nearest_picture_is_found_with_its_distance() -> None:
    known = random_pictures(40, 16)
    known[..., 3] = 255
    asked = known[[7, 31]].copy()
    asked[1, ..., 0] ^= 4  # each red differs by 4
    found = nearest_pictures(asked, known, rows=16)
    assert found.index.tolist() == [7, 31]
    assert found.rms == pytest.approx([0, 4 / math.sqrt(3)], abs=1e-3)


# --- what pixels show -------------------------------------------------------------------------------------


def disc(picture: np.ndarray, y: float, x: float, radius: float, colour: str) -> np.ndarray:
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    picture[inside] = (*RGB[colour], 255)
    return picture


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_have_their_names(colour: str) -> None:
    ground = plain((255, 255, 255), alpha=0)
    picture = disc(ground, 32, 32, 20, colour)
    disc(picture, 26, 26, 4, "black"), disc(picture, 26, 38, 4, "white")
    assert check(picture, Wish(colour=colour)) == {"colour": True}
    other = "red" if colour != "red" else "blue"
    assert check(picture, Wish(colour=other)) == {"colour": False}


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_counts_of_discs(number: int) -> None:
    picture = plain((200, 230, 255))
    for y, x in [(16, 16), (16, 48), (48, 16), (48, 48)][:number]:
        disc(picture, y, x, 10, "red")
    disc(picture, 32, 32, 2, "black")  # a speck is no thing
    mask = foreground(picture)
    assert count(mask) == number
    assert check(picture, Wish(count=number, colour="red")) == {"colour": True, "count": True}
    assert not check(picture, Wish(count=number % 4 + 1))["count"]


def test_parts_are_those_of_scipy() -> None:
    mask = np.random.default_rng(0).random((64, 64)) < 0.3
    labels, n = ndimage.label(mask, np.ones((3, 3)))
    assert parts(mask) == sorted(np.bincount(labels.ravel())[1:].tolist(), reverse=True)
    assert len(parts(mask)) == n


@pytest.mark.parametrize("name", PLACES)
def test_places_of_a_disc(name: str) -> None:
    row, column = PLACES[name]
    picture = disc(plain((240, 240, 200)), (14, 32, 50)[row], (14, 32, 50)[column], 11, "purple")
    assert place(foreground(picture)) == name
    assert check(picture, Wish(place=name)) == {"place": True}
    assert check(picture[:, ::-1], Wish(place=name))["place"] == (column == 1)


def test_an_empty_picture_shows_nothing() -> None:
    picture = plain((255, 255, 255))
    mask = foreground(picture)
    assert not mask.any()
    assert (main_colour(picture, mask), count(mask), place(mask)) == (None, 0, None)
    assert check(picture, Wish("red", 1, "top")) == {"colour": False, "count": False, "place": False}


@pytest.mark.parametrize(
    ("wrong", "field"), [({"colour": "mauve"}, "colour"), ({"count": 5}, "count"), ({"place": "up"}, "place")]
)
def test_wishes_that_pixels_cannot_show_are_refused(wrong: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Wish(**wrong)  # type: ignore[arg-type]


def test_shares_tell_each_attribute_and_all_of_them() -> None:
    found = shares([{"colour": True, "count": False}, {"colour": True}, {}])
    assert found == {"all": [False, True], "colour": [True, True], "count": [False]}
