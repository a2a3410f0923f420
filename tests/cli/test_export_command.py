"""`loom export`: what is written opens here, in transformers and in llama.cpp, and says the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gguf_fixtures import small_llama
from real_home import REAL_HOME
from typer.testing import CliRunner, Result

from tokenloom.cli.export import app
from tokenloom.model.load import load_model
from tokenloom.model.read import read_config
from tokenloom.tokens.text import load_tokenizer
from tokenloom.weights.gguf import open_gguf

Export = Callable[..., Result]
IDS = torch.tensor([[5, 9, 33, 60, 2, 11, 70]])
TEXTS = ["hello the inner hell", "<|im_start|>user\nit is 123<|im_end|>", "你好 🎉\r\n\t x"]


@pytest.fixture
def export() -> Export:
    torch.set_num_threads(1)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    small_llama(tmp_path / "small.gguf", "Q4_1")
    return tmp_path / "small.gguf"


def logits(path: Path, dtype: str = "float32") -> torch.Tensor:
    with torch.no_grad():
        return load_model(path, dtype, "cpu")(IDS)


def test_from_a_quantised_file_to_a_folder_and_back(export: Export, source: Path, tmp_path: Path) -> None:
    folder, back = tmp_path / "hub", tmp_path / "back.gguf"
    done = export("hub", source, "-o", folder, "--dtype", "float32")
    assert done.exit_code == 0, done.output
    assert f"{folder} is written" in done.stdout
    assert torch.equal(logits(folder), logits(source))
    done = export("gguf", folder, "-o", back, "--type", "f32")
    assert done.exit_code == 0, done.output
    assert torch.equal(logits(back), logits(source))
    ours = load_tokenizer(source)
    about = json.loads((folder / "tokenloom.json").read_text())
    assert about["tokenizer_sha256"] == load_tokenizer(folder).hash == ours.hash
    for other in (load_tokenizer(folder), load_tokenizer(back)):
        for text in TEXTS:
            assert other.encode(text) == ours.encode(text)
            assert other.encode_control(text) == ours.encode_control(text)
        assert other.eos_ids == ours.eos_ids
        assert other.template is not None
        assert ours.template is not None
        assert other.template.source == ours.template.source
    assert read_config(folder).eos_ids == ours.eos_ids
    with open_gguf(back) as file:
        assert file.meta["general.name"] == "hub"


@pytest.mark.slow
def test_transformers_opens_the_folder(export: Export, source: Path, tmp_path: Path) -> None:
    import transformers

    folder = tmp_path / "hub"
    assert export("hub", source, "-o", folder).exit_code == 0
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(IDS).logits, logits(folder), rtol=1e-5, atol=1e-5)
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folder), load_tokenizer(source)
    for text in TEXTS:
        assert theirs.encode(text, add_special_tokens=False) == ours.encode_control(text)
    turns = [{"role": "user", "content": "hello"}]
    assert ours.template is not None
    assert theirs.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True
    ) == ours.template.render(turns)
    assert model.generation_config.eos_token_id == list(ours.eos_ids)


def test_the_file_has_a_name_of_its_own(
    export: Export, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = export("gguf", source, "--type", "q8_0")
    assert done.exit_code == 0, done.output
    assert "small.Q8_0.gguf is written: " in done.stdout
    assert (tmp_path / "small.Q8_0.gguf").is_file()
    again = export("gguf", source, "--type", "q8_0")
    assert isinstance(again.exception, FileExistsError)
    assert export("gguf", source, "--type", "q8_0", "--force").exit_code == 0


def test_wrong_input(export: Export, source: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "hub", tmp_path / "out.gguf"
    done = export("gguf", source, "-o", out, "--type", "q4_k")
    assert "type: found 'q4_k'; allowed: f32, f16" in str(done.exception)
    done = export("hub", source, "-o", folder, "--dtype", "int8")
    assert "dtype: found 'int8'; allowed: float32" in str(done.exception)
    assert export("hub", source, "-o", folder).exit_code == 0
    (folder / "tokenizer.json").unlink()
    done = export("gguf", folder, "-o", out)
    assert "tokenizer.json: missing" in str(done.exception)
    done = export("gguf", "nowhere", "-o", out)
    assert "there is no model 'nowhere'" in str(done.exception)
    assert f"on this machine, in {tmp_path / 'home' / 'models'}: none; with Tokenloom: " in str(
        done.exception
    )
    assert f"a path is looked for from {Path.cwd()}" in str(done.exception)
    done = export("gguf", folder.parent / "home", "-o", out)
    assert "is no model folder: it needs config.json" in str(done.exception)
    done = export("gguf", source, "-o", tmp_path / "home" / "x" / "y.gguf")
    assert done.exit_code == 0, "folders on the way are made"
    assert not out.exists()


def test_a_training_stands_for_what_it_made(export: Export, source: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.toml").write_text("")
    out = tmp_path / "out.gguf"
    assert "without a model yet; `loom train " in str(export("gguf", run, "-o", out).exception)
    (run / "adapter").mkdir()
    assert "lora.merge = true" in str(export("gguf", run, "-o", out).exception)
    assert export("hub", source, "-o", run / "model").exit_code == 0
    assert export("gguf", run, "-o", out).exit_code == 0
    with open_gguf(out) as file:
        assert file.meta["general.name"] == "run"


SLOW = """
import sys, time
import tokenloom.model.export as export
before = export._blocks
def slow(tensor, rows):
    print("writing", flush=True)
    time.sleep(60)
    return before(tensor, rows)
export._blocks = slow
from tokenloom.cli.export import app
app(sys.argv[1:])
"""


def test_ctrl_c_while_it_writes(export: Export, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "m.gguf"
    assert export("gguf", source, "-o", out).exit_code == 0
    before = out.read_bytes()
    command = [sys.executable, "-c", SLOW, "gguf", str(source), "-o", str(out), "--type", "q8_0", "--force"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ})
    assert child.stdout is not None
    assert child.stdout.readline() == b"writing\n"
    assert len(list(out.parent.iterdir())) == 2, "it is written beside"
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 130
    assert [p.name for p in out.parent.iterdir()] == ["m.gguf"]
    assert out.read_bytes() == before


LLAMA_CPP = REAL_HOME / "peers" / "llama.cpp" / "bin" / "python"
JUDGE = Path(__file__).parent.parent / "model" / "llama_cpp_judge.py"
PROMPTS = ["The capital of France is", "Once upon a time", "你好，世界！ 12345"]
NEW = 16


@pytest.mark.model
@pytest.mark.slow
def test_the_embedded_model_in_llama_cpp(export: Export, smollm2: Path, tmp_path: Path) -> None:
    """Through a folder, as one fine-tunes it, into F16: the same ids of texts and the same greedy text."""
    if not LLAMA_CPP.is_file():
        pytest.skip("llama.cpp is not installed: `loom bench --setup --peer llama.cpp` does it")
    folder, file = tmp_path / "hub", tmp_path / "m.gguf"
    assert export("hub", smollm2, "-o", folder).exit_code == 0
    assert export("gguf", folder, "-o", file).exit_code == 0
    spec = {"model": str(file), "texts": PROMPTS, "new": NEW, "context": 128}
    done = subprocess.run([str(LLAMA_CPP), str(JUDGE), json.dumps(spec)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(done.stdout)
    tokenizer, model = load_tokenizer(smollm2), load_model(folder, "float32", "cpu")
    for prompt, ids, written in zip(PROMPTS, theirs["ids"], theirs["written"], strict=True):
        assert ids == tokenizer.encode(prompt)
        ours = list(ids)
        with torch.no_grad():
            for _ in range(NEW):
                ours.append(int(model(torch.tensor([ours]))[0, -1].argmax()))
        assert written == ours[len(ids) :], tokenizer.decode(written)
