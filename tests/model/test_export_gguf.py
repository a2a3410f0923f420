"""GGUF files that are written: read back here, held against the gguf package's own, and run by llama.cpp."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf_fixtures import MERGES, SPECIAL, small_vocabulary, write_gguf
from real_home import REAL_HOME
from safetensors.torch import load_file
from small_sizes import BLOCKS

from tokenloom.model.config import from_hub
from tokenloom.model.export import TYPES, export_gguf
from tokenloom.model.features import ModelConfig
from tokenloom.model.load import load_model, open_sources
from tokenloom.model.save import save_model
from tokenloom.model.transformer import Transformer
from tokenloom.weights.gguf import open_gguf

HubModel = Callable[[str], tuple[Path, Any]]
IDS = torch.tensor([[5, 9, 33, 60, 2, 11, 70, 8, 41, 3, 12, 5]])
META = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": small_vocabulary(320),
    "tokenizer.ggml.token_type": [
        3 if token in SPECIAL else 5 if token.startswith("<filler_") else 1 for token in small_vocabulary(320)
    ],
    "tokenizer.ggml.merges": list(MERGES),
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
}
BASE = {
    **BLOCKS,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256, "layer_norm_epsilon": 1e-5}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**BASE, "model_type": "llama"},
    "llama_tied_biases": {
        **BASE, "model_type": "llama", "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True,
    },
    "llama_linear": {
        **BASE, "model_type": "llama", "rope_scaling": {"rope_type": "linear", "factor": 4.0},
    },
    "llama_yarn": {
        **BASE, "model_type": "llama",
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    },
    "llama_llama3": {
        **BASE, "model_type": "llama", "rope_theta": 500_000.0,
        "rope_scaling": {**LLAMA3, "original_max_position_embeddings": 8192},
    },
    "mistral": {**BASE, "model_type": "mistral", "sliding_window": None},
    "mistral_window": {**BASE, "model_type": "mistral", "sliding_window": 32},
    "qwen2": {**BASE, "model_type": "qwen2", "tie_word_embeddings": True},
    "qwen3": {**BASE, "model_type": "qwen3", "head_dim": 32, "tie_word_embeddings": True},
    "gemma3": {
        **BASE, "model_type": "gemma3_text", "num_hidden_layers": 6, "sliding_window": 32, "head_dim": 32,
        "query_pre_attn_scalar": 32, "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True,
        "rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0,
    },
    "gpt2": {**GPT2, "model_type": "gpt2", "vocab_size": 320, "bos_token_id": 1, "eos_token_id": 2},
}  # fmt: skip


def made(name: str, seed: int = 3) -> Transformer:
    """A model with random weights."""
    torch.manual_seed(seed)
    return drawn(Transformer(from_hub(CONFIGS[name])))


def drawn(model: Transformer) -> Transformer:
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0.0, 0.15 if weight.dim() > 1 else 0.3)
    return model.eval()


def written(model: Transformer, path: Path, kind: str = "f16", **options: Any) -> Any:
    sources = {name: (lambda p=p: p.detach()) for name, p in model.named_parameters()}
    return export_gguf(model.config, sources, path, kind, **{"meta": META, **options})


def logits(model: Transformer, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        return model(ids)


@pytest.mark.parametrize("name", CONFIGS)
def test_read_back_with_equal_logits(name: str, tmp_path: Path) -> None:
    model = made(name)
    written(model, tmp_path / "32.gguf", "f32")
    back = load_model(tmp_path / "32.gguf", "float32", "cpu")
    # Gemma's norms are stored with 1 added, which rounds them.
    torch.testing.assert_close(
        logits(back), logits(model), rtol=0, atol=1e-4 if name in ("gemma3", "llama_llama3") else 0
    )
    written(model, tmp_path / "16.gguf", "f16")
    with torch.no_grad():
        for part, weight in model.named_parameters():
            if weight.dim() > 1 and "embed_positions" not in part:
                weight.copy_(weight.half())
    back = load_model(tmp_path / "16.gguf", "float32", "cpu")
    torch.testing.assert_close(
        logits(back), logits(model), rtol=0, atol=1e-4 if name in ("gemma3", "llama_llama3") else 0
    )
    assert (back.config.eos_ids, back.config.bos_id) == ((2,), 1)


@pytest.mark.parametrize("name", ["llama", "llama_linear", "llama_yarn", "qwen2", "qwen3", "gemma3", "gpt2"])
@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_tensors_are_those_of_the_converter(name: str, kind: str, tmp_path: Path) -> None:
    """Names, types and bytes as the gguf package's own name map and quantisers give them."""
    model = made(name)
    written(model, tmp_path / "ours.gguf", kind)
    hub = save_model(model, tmp_path / "hub", dtype="float32")
    weights = {part: t.numpy() for part, t in load_file(hub / "model.safetensors").items()}
    write_gguf(tmp_path / "theirs.gguf", CONFIGS[name], weights, kind.upper())
    with open_gguf(tmp_path / "ours.gguf") as ours, open_gguf(tmp_path / "theirs.gguf") as theirs:
        assert set(ours.tensors) == set(theirs.tensors)
        for part, tensor in theirs.tensors.items():
            if part == "position_embd.weight":
                assert ours.tensors[part].type.name == "F32"
                continue
            assert (ours.tensors[part].shape, ours.tensors[part].type) == (tensor.shape, tensor.type), part
            assert np.array_equal(ours.tensors[part].raw, tensor.raw), part
        for key, value in theirs.meta.items():
            if key.startswith(f"{theirs.meta['general.architecture']}."):
                assert ours.meta[key] == value, key
    assert gguf.GGUFReader(tmp_path / "ours.gguf").get_field("general.file_type").contents() == TYPES[kind][1]


@pytest.mark.parametrize("kind", TYPES)
def test_every_type(kind: str, tmp_path: Path) -> None:
    """Fewer bits, a smaller file, a larger error; the embedding of small types has 8 bits."""
    model = made("qwen2")
    done = written(model, tmp_path / "m.gguf", kind)
    assert done.size == (tmp_path / "m.gguf").stat().st_size
    with open_gguf(tmp_path / "m.gguf") as file:
        asked = TYPES[kind][0].name
        assert file.tensors["blk.0.ffn_up.weight"].type.name == asked
        small = kind[:2] in ("q4", "q5")
        assert file.tensors["token_embd.weight"].type.name == ("Q8_0" if small else asked)
        assert file.tensors["blk.0.attn_q.bias"].type.name == "F32"
    error = (logits(load_model(tmp_path / "m.gguf", "float32")) - logits(model)).norm() / logits(model).norm()
    bound = {"f32": 0, "f16": 1e-3, "bf16": 1e-2, "q8_0": 3e-2}.get(kind, 0.1 if "q5" in kind else 0.25)
    assert error <= bound
    assert error > bound / 100 or kind == "f32"


def test_rows_that_are_no_multiple_of_a_block(tmp_path: Path) -> None:
    model = drawn(Transformer(ModelConfig(1, 2, 1, 64, 32, 40, 320, 64, eos_ids=(2,), bos_id=1)))
    done = written(model, tmp_path / "m.gguf", "q4_0")
    assert done.notes == (
        "blk.0.ffn_down.weight are kept in f16: rows of q4_0 come in blocks of 32 weights.",
    )
    with open_gguf(tmp_path / "m.gguf") as file:
        assert file.tensors["blk.0.ffn_down.weight"].type.name == "F16"
        assert file.tensors["blk.0.ffn_up.weight"].type.name == "Q4_0"
    assert torch.isfinite(logits(load_model(tmp_path / "m.gguf", "float32"))).all()


def test_large_matrices_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("llama")
    written(model, tmp_path / "whole.gguf", "q8_0")
    monkeypatch.setattr("tokenloom.model.export.ROWS", 200)
    steps: list[tuple[int, int]] = []
    written(model, tmp_path / "pieces.gguf", "q8_0", progress=lambda done, total: steps.append((done, total)))
    assert (tmp_path / "whole.gguf").read_bytes() == (tmp_path / "pieces.gguf").read_bytes()
    assert len(steps) > 300
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert steps[-1][0] == steps[-1][1]


def test_a_folder_becomes_a_file(hub_model: HubModel, tmp_path: Path) -> None:
    """Straight from the folder's tensors, without a model in memory; also from a GGUF file again."""
    folder, _ = hub_model("qwen3")
    config, sources = open_sources(folder, torch.float32)
    export_gguf(config, sources, tmp_path / "m.gguf", "f32", meta={})
    assert torch.equal(
        logits(load_model(tmp_path / "m.gguf", "float32")), logits(load_model(folder, "float32"))
    )
    config, sources = open_sources(tmp_path / "m.gguf", torch.float32)
    export_gguf(config, sources, tmp_path / "again.gguf", "f32", meta={})
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "m.gguf").read_bytes()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("qwen2_window", "windows="),
        ("llama_dynamic", "rope="),
        ("gemma3", "windows="),
        ("gpt2_untied", "act='gelu'"),
    ],
)
def test_what_the_format_has_no_word_for(hub_model: HubModel, tmp_path: Path, name: str, words: str) -> None:
    config, sources = open_sources(hub_model(name)[0], torch.float32)
    with pytest.raises(ValueError, match=f"model: found .*{words}.*has no way to say"):
        export_gguf(config, sources, tmp_path / "m.gguf", "f16", meta={})
    assert list(tmp_path.glob("*gguf*")) == []


def test_wrong_input(tmp_path: Path) -> None:
    model = made("llama")
    with pytest.raises(ValueError, match=r"type: found 'q4_k'; allowed: f32, f16.*llama-quantize"):
        written(model, tmp_path / "m.gguf", "q4_k")
    with pytest.raises(ValueError, match="tokenizer: found 3 tokens; the model has 320 ids"):
        written(model, tmp_path / "m.gguf", meta={"tokenizer.ggml.tokens": ["a", "b", "c"]})
    with pytest.raises(ValueError, match=r"general\.name: found None"):
        written(model, tmp_path / "m.gguf", meta={"general.name": None})
    with pytest.raises(ValueError, match=r"lm_head.* are missing"):
        export_gguf(model.config, {}, tmp_path / "m.gguf", "f16", meta={})
    weight = model.model.layers[1].mlp.down_proj.weight
    with torch.no_grad():
        weight[3, 4] = 1e6
    with pytest.raises(ValueError, match=r"blk\.1\.ffn_down\.weight: found a weight of 1e\+06.*use bf16"):
        written(model, tmp_path / "m.gguf")
    written(model, tmp_path / "ok.gguf", "bf16")
    with torch.no_grad():
        weight[3, 4] = torch.nan
    with pytest.raises(ValueError, match=r"blk\.1\.ffn_down\.weight: found weights that are not finite"):
        written(model, tmp_path / "m.gguf", "q8_0")
    with pytest.raises(FileExistsError, match="is there already"):
        written(model, tmp_path / "ok.gguf", "bf16")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "ok.gguf"]


def test_interrupted_in_the_middle(tmp_path: Path) -> None:
    model, path = made("llama"), tmp_path / "m.gguf"
    written(model, path)
    before = path.read_bytes()

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(model, path, "q8_0", overwrite=True, progress=stop)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "m.gguf"]
    written(model, path, "q8_0", overwrite=True)
    assert len(path.read_bytes()) < len(before)


FULL = """
import resource, sys, torch
from tokenloom.model.export import export_gguf
from tokenloom.model.load import open_sources
config, sources = open_sources(sys.argv[1], torch.float32)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    export_gguf(config, sources, sys.argv[2], "f16", meta={})
except OSError as error:
    print("refused", error.errno)
"""


def test_a_full_disk_leaves_nothing(hub_model: HubModel, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(hub_model("llama")[0]), str(tmp_path / "m.gguf")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "refused 27\n", done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["home"]


# --- llama.cpp itself ---------------------------------------------------------------------------------------

LLAMA_CPP = REAL_HOME / "peers" / "llama.cpp" / "bin" / "python"
JUDGE = Path(__file__).with_name("llama_cpp_judge.py")
TEXT = "the hell in the inner hello; he tells the tin: <1234> \n" * 3


def judged(path: Path, **spec: Any) -> Mapping[str, Any]:
    """What llama.cpp says of a file."""
    if not LLAMA_CPP.is_file():
        pytest.skip("llama.cpp is not installed: `loom bench --setup --peer llama.cpp` does it")
    command = [str(LLAMA_CPP), str(JUDGE), json.dumps({"model": str(path), **spec})]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def learn(model: Transformer, ids: list[int], steps: int = 60) -> None:
    """Trains until one text is known by heart, so that greedy decoding is sure of every id."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, 0.05)
            else:
                weight.fill_(1.0 if name.endswith("norm.weight") and not model.config.norm_offset else 0.0)
    rows = torch.tensor([ids])
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        found = model(rows[:, :-1]).float()
        loss = torch.nn.functional.cross_entropy(found[0], rows[0, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_llama_cpp_writes_the_same(name: str, tmp_path: Path) -> None:
    from tokenloom.tokens.text import load_tokenizer

    model = made(name)
    written(model, tmp_path / "m.gguf")
    ids = load_tokenizer(tmp_path / "m.gguf").encode(TEXT)
    learn(model, ids)
    notes = written(model, tmp_path / "m.gguf", overwrite=True).notes
    back = load_model(tmp_path / "m.gguf", "float32", "cpu")
    prompts = [ids[:20], ids[5:15]]
    new = 40
    if name == "mistral_window":
        assert notes == ("llama.cpp lets every layer see all positions: past 32 it differs.",)
        prompts, new = [ids[:10], ids[5:12]], 20
    theirs = judged(tmp_path / "m.gguf", texts=[TEXT], prompts=prompts, new=new, context=128)
    assert theirs["ids"] == [ids]
    for prompt, found in zip(prompts, theirs["written"], strict=True):
        ours = list(prompt)
        for _ in range(new):
            ours.append(int(logits(back, torch.tensor([ours]))[0, -1].argmax()))
        assert found == ours[len(prompt) :]
    known = ids[len(prompts[0]) :][:20]
    assert theirs["written"][0][:20] == known, "it knows the text by heart"
    written(model, tmp_path / "small.gguf", "q4_1")
    small = judged(tmp_path / "small.gguf", texts=[TEXT], prompts=prompts[:1], new=20, context=128)
    assert small["ids"] == [ids]
    assert sum(a == b for a, b in zip(small["written"][0], known, strict=True)) >= 15
