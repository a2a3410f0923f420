"""Folders and GGUF files in and out: names, shards, ties, what is refused, what stays on failure."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file

from tokenloom.model.extend import extend_vocabulary
from tokenloom.model.load import load_model
from tokenloom.model.read import BadModel, read_config
from tokenloom.model.save import save_model
from tokenloom.model.transformer import Transformer

HubModel = Callable[[str], tuple[Path, Any]]
IDS = torch.tensor([[5, 9, 33, 60, 2]])


@pytest.fixture
def folder(hub_model: HubModel, tmp_path: Path) -> Path:
    """A copy of the tiny Llama's folder, to be changed."""
    shutil.copytree(hub_model("llama")[0], tmp_path / "model")
    return tmp_path / "model"


def logits(model: Transformer) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS)


def test_shards_are_one_model(hub_model: HubModel, tmp_path: Path) -> None:
    whole, theirs = hub_model("llama")
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert (tmp_path / "shards" / "model.safetensors.index.json").is_file()
    assert torch.equal(
        logits(load_model(tmp_path / "shards", "float32", "cpu")), logits(load_model(whole, "float32", "cpu"))
    )


def test_missing_and_unexpected_weights_are_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    gone = weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(BadModel, match=r"model\.layers\.1\.mlp\.up_proj\.weight are missing"):
        load_model(folder)
    more = {**weights, "model.layers.1.mlp.up_proj.weight": gone, "model.extra.weight": gone.clone()}
    save_file(more, folder / "model.safetensors")
    with pytest.raises(BadModel, match=r"model\.extra\.weight belong to no part"):
        load_model(folder)


def test_a_wrong_shape_is_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.ones(31)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(BadModel, match=r"model\.norm\.weight: found shape \(31,\), the settings say \(32,\)"):
        load_model(folder)


def test_whole_numbers_are_no_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = torch.ones(97, 32, dtype=torch.int8)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(BadModel, match=r"lm_head\.weight: found I8.*bf16 or GGUF"):
        load_model(folder)


def test_buffers_are_ignored_by_name_only(folder: Path) -> None:
    want = load_model(folder).state_dict()
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(weights, folder / "model.safetensors")
    found = load_model(folder).state_dict()
    assert found.keys() == want.keys()
    assert all(torch.equal(found[name], want[name]) for name in want)
    weights["model.layers.0.self_attn.rotary_emb.scale"] = torch.ones(4)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(BadModel, match=r"self_attn\.rotary_emb\.scale"):
        load_model(folder)


def test_a_tied_matrix_written_twice(hub_model: HubModel, tmp_path: Path) -> None:
    shutil.copytree(hub_model("llama_biases_tied")[0], tmp_path / "m")
    file = tmp_path / "m" / "model.safetensors"
    weights = load_file(file)
    save_file({**weights, "lm_head.weight": weights["model.embed_tokens.weight"].clone()}, file)
    assert load_model(tmp_path / "m").lm_head is None
    save_file({**weights, "lm_head.weight": weights["model.embed_tokens.weight"] * 2}, file)
    apart = load_model(tmp_path / "m", "float32")
    assert not apart.config.tied
    assert torch.equal(apart.output_weight, weights["model.embed_tokens.weight"] * 2)


def test_gpt2_without_prefix_and_with_masks(hub_model: HubModel, tmp_path: Path) -> None:
    """The oldest files have no `transformer.` and hold the causal mask of each layer."""
    source, _ = hub_model("gpt2")
    shutil.copytree(source, tmp_path / "m")
    file = tmp_path / "m" / "model.safetensors"
    weights = {name.removeprefix("transformer."): t for name, t in load_file(file).items()}
    weights |= {f"h.{i}.attn.bias": torch.ones(1, 1, 64, 64).tril() for i in range(2)}
    weights["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(weights, file)
    assert torch.equal(logits(load_model(tmp_path / "m")), logits(load_model(source)))


def test_all_ids_that_end_a_turn(folder: Path) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9]}))
    assert read_config(folder).eos_ids == (2, 7, 9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dtype": "int4"}, "dtype: found 'int4', allowed are auto, float32"),
        ({"device": "abacus"}, "device: found 'abacus'"),
    ],
)
def test_arguments_are_checked(folder: Path, arguments: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        load_model(folder, **arguments)


def test_what_is_no_model_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing at"):
        load_model(tmp_path / "none")
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(BadModel, match=r"needs a folder.*\.gguf"):
        load_model(tmp_path / "model.bin")
    (folder / "config.json").write_text("[1]")
    with pytest.raises(BadModel, match="needs a JSON object"):
        load_model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(BadModel, match=r"config\.json: missing"):
        load_model(folder)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_saved_in_a_dtype(folder: Path, tmp_path: Path, dtype: str) -> None:
    model = load_model(folder, "float32", "cpu")
    saved = save_model(model, tmp_path / "out", dtype=dtype)
    weights = load_file(saved / "model.safetensors")
    assert {str(t.dtype) for t in weights.values()} == {f"torch.{dtype}"}
    assert json.loads((saved / "config.json").read_text())["dtype"] == dtype
    for name, p in model.named_parameters():
        assert torch.equal(weights[name], p.to(getattr(torch, dtype)))


def test_what_else_is_in_the_folder(folder: Path, tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1, "ab": 2, "<e>": 3}, [("a", "b")]))
    backend.enable_truncation(512)
    backend.enable_padding()
    backend.save(str(folder / "tokenizer.json"))
    settings = {"chat_template": "{{ x }}", "eos_token": "<e>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("{{ tools }}")
    model = load_model(folder)
    model.config = dataclasses.replace(model.config, eos_ids=(2, 7), pad_id=0)
    ranges = [{"name": "text", "start": 0, "stop": 90}, {"name": "image", "start": 90, "stop": 97}]
    saved = save_model(model, tmp_path / "out", folder, {"merges.txt": "a b"}, ranges=ranges)
    about = json.loads((saved / "tokenloom.json").read_text())
    assert about["schema"] == 1
    assert about["kind"] == "lm"
    assert about["ranges"] == ranges
    # Not of the file's bytes: cutting, padding and how the named token is spelled are left out.
    backend.no_truncation()
    backend.no_padding()
    backend.add_special_tokens([tokenizers.AddedToken("<e>", normalized=False)])
    assert about["tokenizer_sha256"] == hashlib.sha256(backend.to_str().encode()).hexdigest()
    templates = [{"default": "{{ x }}", "tool_use": "{{ tools }}"}, {"eos_token": "<e>"}]
    assert about["template_sha256"] == hashlib.sha256(json.dumps(templates).encode()).hexdigest()
    assert json.loads((saved / "generation_config.json").read_text())["eos_token_id"] == [2, 7]
    assert (saved / "merges.txt").read_text() == "a b"
    assert "2 layers" in (saved / "README.md").read_text()
    assert read_config(saved) == model.config
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "model", "out"]


def test_a_folder_without_a_tokenizer_has_no_hash_of_one(folder: Path, tmp_path: Path) -> None:
    about = json.loads((save_model(load_model(folder), tmp_path / "out") / "tokenloom.json").read_text())
    assert (about["tokenizer_sha256"], about["template_sha256"]) == (None, None)
    with pytest.raises(ValueError, match=r"tokenizer\.json: not a tokenizer"):
        save_model(load_model(folder), tmp_path / "bad", files={"tokenizer.json": "{}"})
    assert not (tmp_path / "bad").exists()


def test_a_failed_save_leaves_what_was_there(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    saved = save_model(model, tmp_path / "out")
    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    with pytest.raises(FileExistsError, match="not empty"):
        save_model(model, saved)
    with pytest.raises(ValueError, match=r"files: found '\.\./x'"):
        save_model(model, saved, files={"../x": ""}, overwrite=True)
    with pytest.raises(ValueError, match="tokenizer_files_from: found none"):
        save_model(model, saved, tokenizer_files_from=tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="kind: found 'thing', allowed are lm"):
        save_model(model, saved, kind="thing", overwrite=True)
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before
    save_model(model, saved, dtype="float32", overwrite=True)
    assert (saved / "model.safetensors").stat().st_size > len(before["model.safetensors"])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="holds no model"):
        save_model(model, tmp_path / "notes", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "model", "notes", "out"]


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_more_ids(hub_model: HubModel, tmp_path: Path, name: str) -> None:
    """Old rows stay, new ones are near the mean, a seed says which; the larger model saves and opens."""
    model, twin = load_model(hub_model(name)[0], "float32"), load_model(hub_model(name)[0], "float32")
    before, rows = logits(model), model.output_weight.detach().clone()
    extend_vocabulary(model, 120, seed=4)
    assert model.config.vocab_size == 120
    torch.testing.assert_close(logits(model)[..., :97], before)
    new = model.output_weight[97:]
    assert torch.equal(model.output_weight[:97], rows)
    assert (new - rows.mean(0)).abs().max() < 0.6 * rows.std()
    assert (new.std(0) > 0).all()
    extend_vocabulary(twin, 120, seed=4)
    assert torch.equal(twin.output_weight, model.output_weight)
    saved = save_model(model, tmp_path / "more", dtype="float32")
    assert torch.equal(logits(load_model(saved, "float32")), logits(model))
    with pytest.raises(ValueError, match="vocab_size: found 50, needs at least 120"):
        extend_vocabulary(model, 50, seed=0)


@pytest.mark.model
def test_the_embedded_gguf_is_a_llama(smollm2: Path) -> None:
    model = load_model(smollm2, "bfloat16", "cpu")
    c = model.config
    assert (c.n_layer, c.n_head, c.n_kv_head, c.dim, c.vocab_size) == (30, 9, 3, 576, 49152)
    assert c.tied is (model.lm_head is None)
    assert sum(p.numel() for p in model.parameters()) == c.n_params
    assert all(p.dtype == torch.bfloat16 and torch.isfinite(p).all() for p in model.parameters())
    assert np.isfinite(logits(model).float().numpy()).all()
