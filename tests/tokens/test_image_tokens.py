"""Pictures as ids: the layouts, and the laws of whole pictures whatever a model says and a user writes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.engine.core import Core
from tokenloom.engine.request import Request, Sampling
from tokenloom.model.features import ModelConfig
from tokenloom.model.save import save_model
from tokenloom.model.step import TorchStep
from tokenloom.model.transformer import Transformer, init_weights
from tokenloom.tokens.folder import tokenizer_files
from tokenloom.tokens.image import (
    FITTING,
    PICTURE_MARKS,
    STYLES,
    PictureTokens,
    add_pictures,
    best_restyled,
    codec_shape,
    fits_of_restyled,
    masked_codes,
)
from tokenloom.tokens.train import Plan, train_tokenizer
from tokenloom.tokens.vocabulary import Vocabulary

SHA = "0123456789abcdef" * 4
WORDS = ["a red fox on a blue ground", "two green cats", "一只红色的狐狸", "三只绿色的猫在左边"]
N_CODES, CONTEXT = 40, 160
SIZES = {"8x8": 64, "8x8, two codes a place": 128, "4x4": 16, "16x16": 256}


def made(per_picture: int, context: int | None = None) -> PictureTokens:
    plain = train_tokenizer(WORDS * 5, Plan(vocab_size=320, chat=False)).tokenizer
    return PictureTokens(*add_pictures(plain, N_CODES, SHA), per_picture, context)


BY_SIZE = {name: made(size) for name, size in SIZES.items()}
SMALL = BY_SIZE["4x4"]


def any_codes(size: int, n_codes: int = N_CODES) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, n_codes - 1), min_size=size, max_size=size)


def spelled(tokens: PictureTokens, ids: object) -> str:
    return tokens.tokenizer.decode(list(ids), special=True)  # type: ignore[call-overload]


# --- layouts ------------------------------------------------------------------------------------------------


def test_the_vocabulary_has_text_marks_and_codes() -> None:
    tokens = SMALL
    assert tokens.vocabulary.names == ("text", "special", "image")
    assert (tokens.codec, tokens.n_codes) == (SHA, N_CODES)
    first = tokens.vocabulary.range("text")[1]
    marks = [*PICTURE_MARKS, "<|image|>", "<|/image|>"]
    assert [tokens.tokenizer.special[mark] for mark in marks] == list(range(first, first + len(marks)))
    words = {id for start, stop in tokens.words for id in range(start, stop)}
    assert words == set(range(first)) - set(tokens.tokenizer.special.values())


def test_each_layout_is_what_it_says() -> None:
    codes, after = list(range(16)), list(range(16, 32))
    masked = np.arange(16) >= 14
    shown = "<|image|>" + "".join(f"<|image:{c}|>" for c in codes) + "<|/image|>"
    drawn = "<|image|>" + "".join(f"<|image:{c}|>" for c in after) + "<|/image|>"
    hidden = shown.replace("<|image:14|><|image:15|>", "<|masked|>" * 2)
    mixed = shown.replace("<|image:14|><|image:15|>", "<|image:30|><|image:31|>")
    t = SMALL
    for example, wanted in (
        (t.example_draw("a red fox", "noto", codes), f"<|draw|>a red fox<|style:noto|>{shown}"),
        (t.example_draw(" a\tred\n fox ", None, codes), f"<|draw|>a red fox{shown}"),
        (t.example_draw("A Red FOX.\n", None, codes), f"<|draw|>a red fox{shown}"),
        (t.example_describe(codes, "en", "A Fox."), f"<|describe|>{shown}<|en|>A Fox.<|end|>"),
        (t.example_draw("", None, codes), f"<|draw|>{shown}"),
        (t.example_describe(codes, "zh", "红色的狐狸"), f"<|describe|>{shown}<|zh|>红色的狐狸<|end|>"),
        (
            t.example_edit(codes, masked, "a cat", "fluent", after),
            f"<|edit|>{hidden}a cat<|style:fluent|>{mixed}",
        ),
        (t.example_restyle(codes, "twemoji", after), f"<|restyle|>{shown}<|style:twemoji|>{drawn}"),
        (t.example_restyle(codes, None, after), f"<|restyle|>{shown}{drawn}"),
    ):
        assert spelled(t, example.ids) == wanted


@pytest.mark.parametrize("tokens", BY_SIZE.values(), ids=BY_SIZE)
def test_what_is_asked_is_what_was_learned(tokens: PictureTokens) -> None:
    """An ask's ids are an example's up to its answer, which alone is learned; so is the twin's."""
    size = tokens.per_picture
    rng = np.random.default_rng(size)
    codes, after, masked = (
        rng.integers(0, N_CODES, size),
        rng.integers(0, N_CODES, size),
        rng.random(size) < 0.3,
    )
    closed = tokens.tokenizer.special["<|/image|>"]
    mixed = np.where(masked, after, codes)
    for ask, example, twin, answer in (
        (
            tokens.draw("two green cats", "noto"),
            tokens.example_draw("two green cats", "noto", after),
            tokens.example_draw("", None, after),
            after,
        ),
        (
            tokens.edit(codes, masked, "a red fox"),
            tokens.example_edit(codes, masked, "a red fox", None, after),
            tokens.example_edit(codes, masked, "", None, after),
            mixed,
        ),
        (
            tokens.restyle(codes, "clipart"),
            tokens.example_restyle(codes, "clipart", after),
            tokens.example_restyle(codes, None, after),
            after,
        ),
    ):
        assert (ask.max_tokens, ask.allowed, ask.stop_ids) == (size, (tokens.vocabulary.range("image"),), ())
        for prompt, whole in ((ask.ids, example), (ask.negative, twin)):
            n = len(prompt)
            assert tuple(whole.ids[:n]) == prompt
            assert whole.learned == [False] * n + [True] * (size + 1)
            assert tokens.codes_of(whole.ids[n:-1]).tolist() == answer.tolist()
            assert whole.ids[-1] == closed
    described = tokens.example_describe(codes, "en", "two green cats")
    asked = tokens.describe(codes, "en")
    assert tuple(described.ids[: len(asked.ids)]) == asked.ids
    assert described.learned == [i >= len(asked.ids) for i in range(len(described.ids))]
    assert asked.options()["negative"] == ()


@pytest.mark.parametrize("tokens", BY_SIZE.values(), ids=BY_SIZE)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_codes_come_back(tokens: PictureTokens, data: st.DataObject) -> None:
    codes = data.draw(any_codes(tokens.per_picture))
    ids = tokens.example_draw("x", None, codes).ids[-tokens.per_picture - 1 : -1]
    found = tokens.codes_of(ids)
    assert (found.tolist(), found.dtype, found.shape) == (codes, np.int64, (tokens.per_picture,))


@given(
    st.lists(
        st.one_of(
            st.text(max_size=8),
            st.sampled_from([*PICTURE_MARKS, "<|image|>", "<|image:3|>", "<|endoftext|>"]),
        )
    ).map("".join)
)
@settings(max_examples=100, deadline=None)
def test_words_spell_no_control_token(text: str) -> None:
    ask = SMALL.draw(text)
    assert ask.ids[0] == SMALL.tokenizer.special["<|draw|>"]
    words = ask.ids[1:-1]
    assert SMALL.tokenizer.decode(words) == " ".join(text.lower().split()).rstrip(" .。")
    assert set(words).isdisjoint(SMALL.tokenizer.special.values())


@given(
    side=st.sampled_from([1, 2, 4, 8]), cell=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    depth=st.integers(1, 3), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_painted_mask_covers_the_places_it_touches(
    side: int, cell: tuple[int, int], depth: int, seed: int
) -> None:
    mask = np.random.default_rng(seed).random((side * cell[0], side * cell[1])) < 0.1
    found = masked_codes(mask, side * side, side * side * depth)
    assert found.shape == (side * side * depth,)
    for code in range(side * side * depth):
        row, column = divmod(code // depth, side)
        part = mask[row * cell[0] : (row + 1) * cell[0], column * cell[1] : (column + 1) * cell[1]]
        assert found[code] == part.any()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: SMALL.draw("x", "openmoji"),
            "style: found 'openmoji'; allowed: fluent, noto, twemoji, clipart",
        ),
        (lambda: SMALL.restyle([0] * 16, "Noto"), "style: found 'Noto'"),
        (lambda: SMALL.describe([0] * 16, "fr"), "lang: found 'fr'; allowed: en, zh"),
        (lambda: SMALL.draw("\ud800"), "half a surrogate pair"),
        (
            lambda: SMALL.describe([0] * 15, "en"),
            r"codes: found the shape \(15,\).*allowed: 16 whole numbers",
        ),
        (lambda: SMALL.describe([0.5] * 16, "en"), "codes: found the shape .* of float64"),
        (lambda: SMALL.describe([0] * 15 + [N_CODES], "en"), f"codes: found {N_CODES} for image"),
        (lambda: SMALL.describe([0] * 15 + [-1], "en"), "codes: found -1 for image"),
        (lambda: SMALL.edit([0] * 16, np.zeros(15, bool), "x"), r"masked: found the shape \(15,\)"),
        (lambda: SMALL.edit([0] * 16, np.zeros(16, int), "x"), "masked: .*allowed: 16 times true or false"),
        (lambda: SMALL.example_edit([0] * 16, np.zeros(16, bool), "x", None, [0]), "after: found the shape"),
        (lambda: SMALL.codes_of(SMALL.vocabulary.ids("image", [0] * 15)), r"ids: found the shape \(15,\)"),
        (lambda: SMALL.codes_of([0] * 16), "ids: found 0 for image"),
        (lambda: SMALL.describe([0] * 16, "en").options(2.0), "guidance: found 2; allowed: 1"),
        (lambda: masked_codes(np.ones((9, 8), bool), 16, 16), r"mask: found the shape \(9, 8\)"),
        (lambda: masked_codes(np.ones((8, 8), bool), 15, 15), "places: found 15 for 15 codes"),
        (
            lambda: made(16, 40).draw("two green cats " * 9),
            r"text: found \d+ tokens, .* takes \d+ positions; allowed: 40, the model's",
        ),
        (lambda: made(16, 36).restyle([0] * 16, "noto"), "style: found 1 tokens, .* takes 37 positions"),
        (lambda: made(16, 80).describe([0] * 16, "en"), "max_tokens: found 64 tokens, .* takes 84 positions"),
        (lambda: made(0), "per_picture: found 0"),
        (
            lambda: PictureTokens(
                train_tokenizer(WORDS, Plan(vocab_size=300, chat=False)).tokenizer, SMALL.vocabulary, 16
            ),
            r"tokenizer: found no <\|draw\|>",
        ),
        (lambda: PictureTokens(SMALL.tokenizer, Vocabulary().add("text", 9), 16), "range: found 'image'"),
    ],
)
def test_what_is_wrong_is_named(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


# --- folders ------------------------------------------------------------------------------------------------


def tiny(tokens: PictureTokens, seed: int = 1, context: int = CONTEXT) -> Transformer:
    rows = math.ceil(tokens.vocabulary.size / 64) * 64
    config = ModelConfig(
        n_layer=2, n_head=2, n_kv_head=2, dim=32, head_dim=16, ffn_dim=64, vocab_size=rows, context=context,
        qk_norm=True, tied=True, family="qwen3", eos_ids=tuple(tokens.tokenizer.eos_ids),
    )  # fmt: skip
    model = Transformer(config)
    init_weights(model, seed)
    return model.eval()


def test_a_model_folder_opens_as_it_was_saved(tmp_path: Path) -> None:
    tokens = BY_SIZE["8x8, two codes a place"]
    ranges = tokens.vocabulary.to_json()
    folder = save_model(
        tiny(tokens, context=300), tmp_path / "m", files=tokenizer_files(tokens.tokenizer), ranges=ranges
    )
    with pytest.raises(ValueError, match=r"codec/config\.json: size, down, depth: found \[None"):
        PictureTokens.open(folder)
    (folder / "codec").mkdir()
    (folder / "codec" / "config.json").write_text(json.dumps({"size": 64, "down": 8, "depth": 2, "x": 1}))
    assert codec_shape(folder / "codec") == (64, 128)
    found = PictureTokens.open(folder)
    assert (found.vocabulary, found.per_picture, found.context) == (tokens.vocabulary, 128, 300)
    assert found.tokenizer.hash == tokens.tokenizer.hash
    assert found.draw("a red fox", "noto") == tokens.draw("a red fox", "noto")
    assert PictureTokens.open(folder, 64).per_picture == 64


def test_a_text_models_folder_draws_nothing(tmp_path: Path) -> None:
    plain = train_tokenizer(WORDS, Plan(vocab_size=300, chat=False)).tokenizer
    folder = save_model(tiny(SMALL), tmp_path / "m", files=tokenizer_files(plain))
    with pytest.raises(ValueError, match="has no codes of pictures"):
        PictureTokens.open(folder)
    (folder / "tokenloom.json").write_text('{"ranges": [{"name": "text", "start": 1, "stop": 2}]}')
    with pytest.raises(ValueError, match=r"tokenloom\.json: ranges\[0\]\.start: found 1"):
        PictureTokens.open(folder)


# --- with a model -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> Core:
    torch.set_num_threads(1)
    return Core(TorchStep(tiny(SMALL), 8, CONTEXT), grid=16)


SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 5.0]),
    top_k=st.sampled_from([0, 1, 7]),
    top_p=st.sampled_from([0.05, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.5]),
    typical_p=st.sampled_from([0.2, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.7]),
    frequency_penalty=st.sampled_from([0.0, 2.0]),
    logit_bias=st.lists(
        st.tuples(st.integers(0, SMALL.vocabulary.size - 1), st.sampled_from([-100.0, 100.0])), max_size=4
    ).map(tuple),
)


def run(core: Core, *requests: Request) -> dict[tuple[str, int], list[int]]:
    answers: dict[tuple[str, int], list[int]] = {}
    for request in requests:
        core.add(request)
    for _ in range(2000):
        if not core.busy:
            return answers
        for delta in core.step():
            assert delta.error is None
            answers.setdefault((delta.request, delta.choice), []).extend(delta.ids)
    raise AssertionError("the core does not come to an end")


@given(
    text=st.text(max_size=30),
    codes=any_codes(16),
    hidden=st.lists(st.booleans(), min_size=16, max_size=16),
    style=st.sampled_from([None, *STYLES]),
    sampling=SAMPLINGS,
    guidance=st.sampled_from([1.0, 0.0, 3.0, -2.0]),
    n=st.integers(1, 3),
    seed=st.integers(0, 9),
    logprobs=st.sampled_from([None, 2]),
)
@settings(max_examples=40, deadline=None)
def test_a_picture_is_always_whole(
    engine: Core, text, codes, hidden, style, sampling, guidance, n, seed, logprobs
) -> None:
    """Exactly as many codes as a picture has come, whatever is asked; known ones stay as they are."""
    masked = np.array(hidden)
    asks = {
        "draw": SMALL.draw(text, style),
        "edit": SMALL.edit(codes, masked, text, style),
        "restyle": SMALL.restyle(codes, style or "noto"),
    }
    more = {"sampling": sampling, "seed": seed, "n": n, "logprobs": logprobs}
    answers = run(engine, *(Request(id=k, model="m", **a.options(guidance), **more) for k, a in asks.items()))
    assert set(answers) == {(name, index) for name in asks for index in range(n)}
    for (name, _), ids in answers.items():
        drawn = SMALL.codes_of(ids)
        if name == "edit":
            assert (drawn == np.array(codes))[~masked].all()


@given(codes=any_codes(16), sampling=SAMPLINGS, lang=st.sampled_from(["en", "zh"]), most=st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_a_description_is_words_alone(engine: Core, codes, sampling, lang, most) -> None:
    ask = SMALL.describe(codes, lang, most)
    answer = run(engine, Request(id="d", model="m", sampling=sampling, **ask.options()))["d", 0]
    assert 1 <= len(answer) <= most
    assert all(any(start <= id < stop for start, stop in SMALL.words) for id in answer)


def test_a_description_ends_where_the_model_ends_it(engine: Core) -> None:
    end = SMALL.tokenizer.special["<|end|>"]
    ask = SMALL.describe([3] * 16, "en")
    wish = Sampling(logit_bias=((end, 100.0),))
    assert len(run(engine, Request(id="e", model="m", sampling=wish, **ask.options()))["e", 0]) == 1


def test_nothing_looks_ahead_across_a_pictures_border() -> None:
    """The logits at each place have no gradient from later ids, and one from the words and both pictures."""
    tokens, model = SMALL, tiny(SMALL)
    codes = np.random.default_rng(4).integers(0, N_CODES, 16)
    example = tokens.example_edit(codes, codes % 2 == 0, "a red fox", "noto", codes[::-1].copy())
    ids = torch.tensor([example.ids])
    embedded = model.model.embed_tokens(ids).detach().requires_grad_(True)
    hook = model.model.embed_tokens.register_forward_hook(lambda *_: embedded)
    logits = model(ids)
    hook.remove()
    first = example.learned.index(True)
    marks = [
        i for i, id in enumerate(example.ids) if tokens.tokenizer.is_special(id) and not _code(tokens, id)
    ]
    for at in {*marks, first, first + 7, len(example.ids) - 1}:
        (moved,) = torch.autograd.grad(logits[0, at].square().sum(), embedded, retain_graph=True)
        felt = moved[0].abs().sum(-1) > 0
        assert felt[: at + 1].all(), at
        assert not felt[at + 1 :].any(), at


def _code(tokens: PictureTokens, id: int) -> bool:
    start, stop = tokens.vocabulary.range("image")
    return start <= id < stop


def test_the_best_restyled_is_like_the_others_near_to_the_source_and_fits() -> None:
    grey = np.full((7, 8, 8, 4), 255, np.uint8)
    grey[..., :3] = np.array([0, 90, 100, 110, 130, 190, 255])[:, None, None, None]  # their mean is 125
    same = np.full((8, 8, 4), 255, np.uint8)
    same[..., :3] = 126
    assert best_restyled(grey, same) == 4
    dark, light = np.zeros((8, 8, 4), np.uint8), np.full((8, 8, 4), 255, np.uint8)
    dark[..., 3] = 255
    assert best_restyled(grey, dark) == 1, "half of 125 is 63"
    assert best_restyled(grey, light) == 5, "and half of 255 more is 190"
    fits = np.zeros(7, np.float32)
    fits[3] = 12 / FITTING
    assert best_restyled(grey, same, fits) == 3, "15 off instead of 4, made up for by 12"
    fits[3] = 10 / FITTING
    assert best_restyled(grey, same, fits) == 4


def test_a_draft_fits_as_the_source_moved_by_what_the_styles_names_change() -> None:
    random = np.random.default_rng(0)
    unit = random.normal(size=(9, 6))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    source, told, drafts = unit[0], unit[1:5], unit[5:]
    seen = np.stack([source, *told]) @ np.stack([source, *drafts]).T
    for style in range(4):
        own = max((at for at in range(4) if at != style), key=lambda at: float(told[at] @ source))
        moved = source + told[style] - told[own]
        assert np.allclose(fits_of_restyled(seen, style), drafts @ (moved + told[style]))
