"""The dual encoder: rows alone and in a crowd, what is read and what is not, and its folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers

from tokenloom.codec.judge import DualEncoder, JudgeConfig
from tokenloom.codec.judge_folder import open_network, save_judge
from tokenloom.codec.pixels import to_tensor
from tokenloom.engine.judge import Judge, open_judge, pack
from tokenloom.tokens.folder import tokenizer_files
from tokenloom.tokens.text import Tokenizer

WORDS = ["a red fox on the left", "three blue whales", "一只红色的狐狸", "三条蓝色的鲸鱼", "a house"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(WORDS * 5, trainer)
    return Tokenizer(backend)


def small(vocab_size: int = 300) -> DualEncoder:
    torch.manual_seed(0)
    sizes = {"text_dim": 32, "widths": (16, 24), "blocks": (1, 1), "out": 24, "hidden": 32, "size": 32}
    network = DualEncoder(JudgeConfig(vocab_size, **sizes))
    for p in network.parameters():  # blocks start as identities: a test wants them awake
        if not p.detach().any():
            torch.nn.init.normal_(p, std=0.05)
    return network.eval()


def pictures(n: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 4), dtype=np.uint8)


def test_the_default_sizes_fit_the_package() -> None:
    network = DualEncoder(JudgeConfig(2600))
    assert 2e6 < network.n_params < 3.6e6
    assert 2 * network.n_params < 8e6  # bytes in float16


def test_vectors_are_unit_rows_and_stand_alone() -> None:
    network = small()
    ids, lengths = torch.randint(0, 300, (5, 9)), torch.tensor([9, 1, 4, 7, 2])
    rows = network.embed_text(ids, lengths)
    assert torch.allclose(rows.norm(dim=1), torch.ones(5), atol=1e-6)
    for i, length in enumerate(lengths):
        alone = network.embed_text(ids[i : i + 1, :length], lengths[i : i + 1])
        assert torch.allclose(alone[0], rows[i], atol=1e-5)
    x = to_tensor(pictures(4))
    seen = network.embed_images(x)
    assert seen.shape == (4, 24)
    assert torch.allclose(network.embed_images(x[2:3])[0], seen[2], atol=1e-5)


def test_what_stands_after_a_caption_is_not_read_and_what_stands_in_it_is() -> None:
    network = small()
    ids, lengths = torch.randint(0, 300, (1, 8)), torch.tensor([5])
    other = ids.clone()
    other[0, 5:] = 7
    assert torch.equal(network.embed_text(ids, lengths), network.embed_text(other, lengths))
    for place in range(5):
        moved = ids.clone()
        moved[0, place] = (moved[0, place] + 1) % 300
        assert not torch.allclose(network.embed_text(moved, lengths), network.embed_text(ids, lengths))
    assert not torch.allclose(
        network.embed_text(ids[:, :5].flip(1), lengths), network.embed_text(ids[:, :5], lengths)
    )


def test_every_pixel_counts_and_where_it_is() -> None:
    network = small()
    x = to_tensor(pictures(1)).requires_grad_(True)
    network.embed_images(x)[0, 0].backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(1) > 0).all()
    assert not torch.allclose(network.embed_images(x), network.embed_images(x.flip(3)), atol=1e-3)


def test_what_is_the_same_everywhere_has_a_path_that_starts_as_none() -> None:
    torch.manual_seed(0)
    plain = DualEncoder(JudgeConfig(300, texture=0)).eval()
    given = DualEncoder(JudgeConfig(300)).eval()
    missing = given.load_state_dict(plain.state_dict(), strict=False)
    assert {name.split(".")[1] for name in missing.missing_keys} == {"texture", "texture_out"}
    x = to_tensor(pictures(2, 64))
    assert torch.equal(plain.embed_images(x), given.embed_images(x))
    torch.nn.init.normal_(given.image.texture_out.weight)
    told, other = given.image(x) - plain.image(x)
    assert not torch.allclose(told, other, atol=1e-3)
    # A spot that is moved: the means are the same but for what the border adds on the small grids.
    spots = torch.full((2, 4, 64, 64), -1.0)
    spots[0, :, 20:28, 20:28] = 1
    spots[1, :, 36:44, 36:44] = 1
    whole = plain.image(spots)
    here, there = given.image(spots) - whole
    assert (here - there).norm() < 0.02 * here.norm()
    assert (whole[0] - whole[1]).norm() > 0.2 * whole[0].norm()


def test_a_long_caption_is_read_up_to_the_context() -> None:
    network = small()
    ids = torch.randint(0, 300, (1, 60))
    cut = network.embed_text(ids[:, :48], torch.tensor([48]))
    assert torch.equal(network.embed_text(ids, torch.tensor([60])), cut)


@pytest.mark.parametrize(
    ("ids", "lengths", "says"),
    [
        ([[1, 300]], [2], "allowed: 0 to 299"),
        ([[1, -1]], [2], "allowed: 0 to 299"),
        ([[1, 2]], [0], "allowed: 1 to 2"),
        ([[1, 2]], [3], "allowed: 1 to 2"),
        ([[1, 2]], [1, 1], "allowed: (N, T) and (N,)"),
    ],
)
def test_wrong_captions_are_refused(ids: list[list[int]], lengths: list[int], says: str) -> None:
    with pytest.raises(ValueError) as error:
        small().embed_text(torch.tensor(ids), torch.tensor(lengths))
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"text_heads": 3}, "text_heads"),
        ({"size": 60}, "size"),
        ({"widths": (64, 100, 160)}, "widths"),
        ({"blocks": (1,)}, "widths, blocks"),
        ({"out": 0}, "out"),
        ({"texture": -1}, "texture"),
    ],
)
def test_wrong_sizes_are_refused(wrong: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        JudgeConfig(300, **wrong)  # type: ignore[arg-type]


def test_a_folder_gives_the_judge_back(tmp_path: Path, tokenizer: Tokenizer) -> None:
    network = small(tokenizer.vocab_size)
    folder = save_judge(network, tmp_path / "judge", files=tokenizer_files(tokenizer))
    judge = open_judge(folder)
    first = Judge(network.half().float(), tokenizer)
    assert np.array_equal(judge.texts(WORDS), first.texts(WORDS))
    seen = pictures(3)
    assert np.array_equal(judge.pictures(seen), first.pictures(seen))
    scores = judge.scores(WORDS, seen)
    assert scores.shape == (5, 3)
    assert scores.dtype == np.float32
    assert np.allclose(scores, judge.texts(WORDS) @ judge.pictures(seen).T)
    mixed = judge.scores([seen[1], WORDS[2], seen[0]], seen)
    assert np.allclose(mixed[[0, 2]], (judge.pictures(seen) @ judge.pictures(seen).T)[[1, 0]], atol=1e-6)
    assert np.allclose(mixed[1], scores[2], atol=1e-6)
    about = json.loads((folder / "tokenloom.json").read_text())
    assert about["kind"] == "embedder"
    assert about["tokenizer_sha256"] == tokenizer.hash
    assert (folder / "model.safetensors").stat().st_size < 2 * network.n_params + 20_000


def test_a_folder_of_before_there_was_a_path_for_texture_opens(tmp_path: Path) -> None:
    network = DualEncoder(JudgeConfig(300, texture=0)).eval()
    folder = save_judge(network, tmp_path / "judge", dtype="float32")
    values = json.loads((folder / "config.json").read_text())
    del values["texture"]
    (folder / "config.json").write_text(json.dumps(values))
    x = to_tensor(pictures(1, 64))
    assert torch.equal(open_network(folder).embed_images(x), network.embed_images(x))


def test_words_that_spell_control_tokens_stay_words(tokenizer: Tokenizer) -> None:
    marked = tokenizer.with_special(["<|image|>"])
    ids, lengths = pack(marked, ["a <|image|> house"], 48)
    assert marked.special["<|image|>"] not in ids
    assert int(lengths[0]) == ids.shape[1]


def test_bad_words_and_pictures_are_refused(tokenizer: Tokenizer) -> None:
    judge = Judge(small(tokenizer.vocab_size), tokenizer)
    with pytest.raises(ValueError, match="at least one word"):
        judge.texts(["a fox", ""])
    with pytest.raises(ValueError, match="32 x 32"):
        judge.pictures(pictures(1, 64))
    with pytest.raises(ValueError, match="uint8"):
        judge.pictures(pictures(1).astype(np.float32))
    assert judge.texts([]).shape == (0, 24)
    assert judge.pictures(pictures(0)).shape == (0, 24)


def test_a_folder_is_replaced_only_if_it_holds_a_judge(tmp_path: Path) -> None:
    network = small()
    folder = save_judge(network, tmp_path / "judge")
    with pytest.raises(FileExistsError, match="not empty"):
        save_judge(network, folder)
    save_judge(network, folder, overwrite=True)
    other = tmp_path / "letters"
    other.mkdir()
    (other / "dear.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match="holds no dual encoder"):
        save_judge(network, other, overwrite=True)
    assert (other / "dear.txt").read_text() == "keep me"
    with pytest.raises(ValueError, match="files"):
        save_judge(network, tmp_path / "new", files={"config.json": "{}"})
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "home") == ["judge", "letters"]


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("tokenloom.json", {"kind": "lm"}, "kind: found 'lm'"),
        ("tokenloom.json", {"schema": 9}, "schema: found 9"),
        ("config.json", {"architecture": "clip"}, "architecture"),
        ("config.json", {"wings": 2}, "wings"),
        ("config.json", {"out": "wide"}, "out: found 'wide'"),
        ("config.json", {"size": 30}, "size: found 30"),
        ("config.json", {"out": 32}, "shape"),
        ("config.json", {"text_layers": 1}, "in only one of weights and config"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, file: str, change: dict[str, object], says: str) -> None:
    folder = save_judge(small(), tmp_path / "judge")
    values = json.loads((folder / file).read_text()) | change
    (folder / file).write_text(json.dumps(values))
    with pytest.raises(ValueError) as error:
        open_network(folder)
    assert says in str(error.value)
    assert str(folder) in str(error.value)
