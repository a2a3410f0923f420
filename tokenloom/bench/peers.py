"""Whom we stand beside: each peer's packages, the form of the model it reads, and how both are made.

Not the measuring (compare, worker). A peer lives in `home()/peers/<environment>`, a virtual environment that
pip fills when asked to; models in other forms are made there too, from a bf16 folder in the Hub's layout that
our own saver writes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tokenloom.config import home
from tokenloom.hub import Found

Form = Literal["as found", "gguf", "hub", "onnx", "openvino"]
Say = Callable[[str], None]
TORCH = "torch==2.13.0"
WORKER = Path(__file__).with_name("worker.py")


class SetupFailed(RuntimeError):
    """A peer's environment or its form of the model could not be made; the message ends with why."""


@dataclass(frozen=True)
class Peer:
    """A program that runs the same model."""

    name: str
    worker: str
    """Its class in worker.py, by key."""
    environment: str
    """The folder of its virtual environment under home()/peers; empty = the interpreter that runs this."""
    packages: tuple[str, ...]
    form: Form
    """The form of the model it reads."""
    precision: str
    """What it computes with, for the record."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Passed to the worker."""
    without: tuple[str, ...] = ()
    """Packages that others draw in, taken out again: they are not used, and can be of another build."""


HUGGING = (TORCH, "transformers==5.23.0")
PEERS: tuple[Peer, ...] = (
    Peer(
        "tokenloom", "tokenloom", "", (), "as found", "as it comes: the native step where it runs the model"
    ),
    Peer(
        "tokenloom-plain",
        "tokenloom",
        "",
        (),
        "as found",
        "as it comes, no id guessed ahead",
        {"speculate": 0},
    ),
    Peer(
        "tokenloom-torch",
        "tokenloom",
        "",
        (),
        "as found",
        "PyTorch, bfloat16 weights and arithmetic",
        {"dtype": "bfloat16"},
    ),
    Peer(
        "tokenloom-torch-float32",
        "tokenloom",
        "",
        (),
        "as found",
        "PyTorch, float32 weights and arithmetic",
        {"dtype": "float32"},
    ),
    Peer(
        "transformers",
        "transformers",
        "transformers",
        HUGGING,
        "hub",
        "bfloat16 weights and arithmetic",
        {"dtype": "bfloat16"},
    ),
    Peer(
        "transformers-float32",
        "transformers",
        "transformers",
        HUGGING,
        "hub",
        "float32 weights and arithmetic",
        {"dtype": "float32"},
    ),
    Peer(
        "llama.cpp",
        "llama.cpp",
        "llama.cpp",
        ("llama-cpp-python==0.3.36", "numpy"),
        "gguf",
        "the blocks of the GGUF file as they are, activations cut to 8 bits",
    ),
    Peer(
        "onnxruntime-genai",
        "onnxruntime-genai",
        "onnxruntime-genai",
        (*HUGGING, "onnxruntime-genai==0.18.0", "onnxruntime==1.31.1", "onnx", "onnx-ir"),
        "onnx",
        "int4 weights in blocks of 32, int8 arithmetic (accuracy level 4), made from the bf16 folder",
    ),
    Peer(
        "openvino-genai",
        "openvino-genai",
        "openvino-genai",
        (TORCH, "openvino-genai==2026.4.1.0", "optimum-intel[openvino]==2.2.0"),
        "openvino",
        "int8 weights a channel (asymmetric), made from the bf16 folder; arithmetic as OpenVINO picks it",
        without=("torchvision",),
    ),
)
NAMES = tuple(peer.name for peer in PEERS)


def place(peer: Peer) -> Path:
    """The peer's virtual environment."""
    return home() / "peers" / peer.environment


def interpreter(peer: Peer) -> Path:
    """The Python that runs the peer's worker."""
    if not peer.environment:
        return Path(sys.executable)
    return place(peer) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def model_path(peer: Peer, found: Found) -> Path:
    """Where the form of the model that the peer reads is, or will be."""
    if peer.form == "as found" or (peer.form == "gguf" and found.kind == "gguf"):
        return found.path
    if peer.form == "hub" and found.kind == "hub":
        return found.path
    return home() / "peers" / "models" / found.path.stem / peer.form


def unfit(peer: Peer, found: Found) -> str | None:
    """Why the peer cannot run this model at all, or None."""
    if peer.form == "gguf" and found.kind != "gguf":
        return f"{peer.name} reads GGUF files, and {found.name} is a folder"
    return None


def missing(peer: Peer, found: Found) -> str | None:
    """The command that would install what the peer lacks, or None if it is ready."""
    ready = not peer.environment or _mark(peer) == _wanted(peer)
    if ready and model_path(peer, found).exists():
        return None
    return f"loom bench --setup --peer {peer.name} --model {found.name}"


def prepare(peer: Peer, found: Found, say: Say = print) -> None:
    """Makes the peer's environment and its form of the model, where they are not there yet."""
    if peer.environment and _mark(peer) != _wanted(peer):
        say(f"{peer.name}: installing {' '.join(peer.packages)} (a few minutes, once)")
        shutil.rmtree(place(peer), ignore_errors=True)
        _run(peer, [sys.executable, "-m", "venv", str(place(peer))])
        pip = [str(interpreter(peer)), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        index = os.environ.get("TORCH_INDEX")
        if index and TORCH in peer.packages:
            _run(peer, [*pip, TORCH, "--index-url", index])
        _run(peer, [*pip, *peer.packages])
        if peer.without:
            _run(peer, [str(interpreter(peer)), "-m", "pip", "uninstall", "-q", "-y", *peer.without])
        (place(peer) / "tokenloom.json").write_text(_wanted(peer), encoding="utf-8")
    target = model_path(peer, found)
    if not target.exists():
        say(f"{peer.name}: making {target.name} from {found.path.name}")
        make_form(peer, found, target)


def _wanted(peer: Peer) -> str:
    return json.dumps({"packages": peer.packages}, indent=1)


def _mark(peer: Peer) -> str | None:
    """What the environment was filled with, written last, so that a half-filled one is filled again."""
    mark = place(peer) / "tokenloom.json"
    return mark.read_text(encoding="utf-8") if mark.is_file() else None


def make_form(peer: Peer, found: Found, target: Path) -> None:
    """Makes the model in the peer's form beside its place, and renames it."""
    beside = target.with_name(target.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.parent.mkdir(parents=True, exist_ok=True)
    if peer.form == "hub":
        _save_hub(found, beside)
    else:
        source = hub_folder(found)
        python = str(interpreter(peer))
        if peer.form == "onnx":
            command = [python, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(beside)]
            command += ["-p", "int4", "-e", "cpu", "-c", str(beside.with_name("onnx.cache"))]
            command += ["--extra_options", "int4_accuracy_level=4"]
        else:
            assert peer.form == "openvino", peer.form
            tool = interpreter(peer).with_name("optimum-cli")
            command = [str(tool), "export", "openvino", "-m", str(source), "--weight-format", "int8"]
            command += ["--task", "text-generation-with-past", str(beside)]
        _run(peer, command)
        shutil.rmtree(beside.with_name("onnx.cache"), ignore_errors=True)
    beside.rename(target)


def hub_folder(found: Found) -> Path:
    """The model as a bf16 folder in the Hub's layout; made when it is not there."""
    hub = next(peer for peer in PEERS if peer.form == "hub")
    target = model_path(hub, found)
    if not target.exists():
        make_form(hub, found, target)
    return target


def _save_hub(found: Found, target: Path) -> None:
    from tokenloom.model.load import load_model
    from tokenloom.model.save import save_model
    from tokenloom.tokens.text import load_tokenizer

    tokenizer = load_tokenizer(found.path)
    special = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if tokenizer.bos_id is not None:
        special["bos_token"] = tokenizer.token_text(tokenizer.bos_id)
    if tokenizer.eos_ids:
        special["eos_token"] = special["pad_token"] = tokenizer.token_text(tokenizer.eos_ids[0])
    files = {"tokenizer.json": tokenizer.json(), "tokenizer_config.json": json.dumps(special)}
    save_model(load_model(found.path, "bfloat16", "cpu"), target, files=files, dtype="bfloat16")


def _run(peer: Peer, command: list[str]) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise SetupFailed(f"{peer.name}: `{' '.join(command)}` failed with {done.returncode}:\n{tail}")
