"""`loom image join`: what belongs together becomes a picture model, what does not is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_painter import CODES, tiny_painter
from typer.testing import CliRunner

import tokenloom
from tokenloom.cli import app
from tokenloom.hub.card import card_of_folder
from tokenloom.tokens.joined import join_pictures


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders model, codec and judge, and beside them `painter`, which they were joined to."""
    place = tmp_path_factory.mktemp("join")
    tiny_painter(place / "painter")
    (place / "painter-parts" / "model" / "README.md").write_text(
        "---\nlicense: mit\n---\n# Tiny\n\nIts text.\n"
    )
    for name in ("codec", "judge"):
        (place / "painter-parts" / name / "README.md").write_text("---\nlicense: mit\n---\n# Small\n")
    return place / "painter-parts"


def joined(parts: Path, out: Path, *words: object) -> str:
    asked = ["image", "join", parts / "model", "--codec", parts / "codec", "-o", out, *words]
    done = CliRunner().invoke(app, [str(word) for word in asked])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_the_joined_model_draws_and_recommends(parts: Path, tmp_path: Path) -> None:
    out = tmp_path / "painter"
    said = joined(parts, out, "--judge", parts / "judge", "--guidance", 1.5, "--top-k", 40)
    assert f"loom draw --model {out}" in said.replace("\n", "")
    settings = json.loads((out / "generation_config.json").read_text())
    assert (settings["guidance_scale"], settings["top_k"]) == (1.5, 40)
    assert "eos_token_id" in settings, "what the model said of itself stays"
    found = card_of_folder(out)
    assert (found.licence, found.languages) == ("mit", ("en", "zh"))
    assert "draw" in found.abilities
    text = (out / "README.md").read_text()
    assert "### Tiny" in text
    assert "Its text." in text
    with tokenloom.load(out) as painter:
        one, best = painter.draw("a red fox", seed=1), painter.draw("a red fox", seed=1, best_of=2)
    assert one[0].codes.max() < CODES
    assert best[0].score is not None
    with tokenloom.load(parts.with_name("painter")) as other:
        same = other.draw("a red fox", seed=1, guidance=1.5, top_k=40)
    assert np.array_equal(one[0].codes, same[0].codes)


def test_weights_may_be_halved_and_the_codec_never_is(parts: Path, tmp_path: Path) -> None:
    out = tmp_path / "half"
    joined(parts, out, "--dtype", "float16")
    before, after = (load_file(place / "model.safetensors") for place in (parts / "model", out))
    assert {t.dtype for t in before.values()} == {torch.bfloat16}
    assert {t.dtype for t in after.values()} == {torch.float16}
    assert all(torch.equal(before[name].to(torch.float16), after[name]) for name in before)
    assert json.loads((out / "config.json").read_text())["dtype"] == "float16"
    files = [place / "codec" / "model.safetensors" for place in (parts, out)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not (out / "judge").exists()
    with tokenloom.load(out) as painter:
        assert len(painter.draw("a red fox", seed=1)) == 1


def test_weights_too_large_for_a_dtype_are_refused(parts: Path, tmp_path: Path) -> None:
    shutil.copytree(parts / "model", tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    weights = load_file(file)
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], 1e6)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"dtype: model\.norm\.weight .* does not fit into float16"):
        join_pictures(tmp_path / "model", parts / "codec", tmp_path / "out", dtype="float16")
    assert not (tmp_path / "out").exists()


def test_what_was_not_made_for_each_other_is_refused(parts: Path, tmp_path: Path) -> None:
    other = tiny_painter(tmp_path / "other", seed=1).with_name("other-parts")
    out = tmp_path / "painter"
    with pytest.raises(ValueError, match=r"learned the codes of another .*take the codec that its tokenizer"):
        join_pictures(parts / "model", other / "codec", out)
    with pytest.raises(ValueError, match=r"codec: .*judge has kind 'embedder'"):
        join_pictures(parts / "model", parts / "judge", out)
    shutil.copytree(parts / "judge", tmp_path / "judge")
    file = tmp_path / "judge" / "tokenizer.json"
    file.write_text(file.read_text().replace("<|draw|>", "<|paint|>"))
    with pytest.raises(ValueError, match=r"judge: .* reads captions with another tokenizer"):
        join_pictures(parts / "model", parts / "codec", out, judge=tmp_path / "judge")
    file.unlink()
    with pytest.raises(ValueError, match=r"judge: .* has no tokenizer"):
        join_pictures(parts / "model", parts / "codec", out, judge=tmp_path / "judge")
    with pytest.raises(FileNotFoundError, match="holds no model"):
        join_pictures(tmp_path / "nothing", parts / "codec", out)
    with pytest.raises(ValueError, match="guidance_scale: found 50; allowed: 0 to 20"):
        join_pictures(parts / "model", parts / "codec", out, sampling={"guidance_scale": 50})
    with pytest.raises(ValueError, match="dtype: found 'int8'; allowed: bfloat16, float16"):
        join_pictures(parts / "model", parts / "codec", out, dtype="int8")
    assert not list(tmp_path.glob("*painter*")), "nothing is left behind"


def test_a_model_too_short_for_a_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"is too short for a picture of this codec: .*allowed: 12, the model's"
    ):
        tiny_painter(tmp_path / "short", context=12)


def test_a_run_or_a_picture_model_stands_for_its_part(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLOOM_HOME", str(tmp_path / "home"))
    run = tmp_path / "home" / "runs" / "my-painter-20260101-000000"
    run.mkdir(parents=True)
    (run / "recipe.toml").write_text('name = "my-painter"\n')
    shutil.copytree(parts / "model", run / "model")
    whole, out = parts.with_name("painter"), tmp_path / "out"
    words = ["image", "join", "my-painter", "--codec", whole, "--judge", whole, "-o", out]
    assert CliRunner().invoke(app, [str(word) for word in words]).exit_code == 0
    assert (out / "judge" / "model.safetensors").is_file()
    again = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(again.exception, FileExistsError)
    assert CliRunner().invoke(app, [*map(str, words), "--overwrite"]).exit_code == 0
    assert (out / "codec" / "config.json").is_file()
    words[2] = "none"
    lost = CliRunner().invoke(app, [*map(str, words), "--overwrite"])
    assert "model: found neither a folder none nor a run of that name" in str(lost.exception)
