"""Folders and repositories of diffusers: what is fetched, and what is not opened. Without the library."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from fake_hub import Hub

from tokenloom import hub
from tokenloom.hub import PullError
from tokenloom.hub.card import card_of_folder
from tokenloom.hub.pipeline import (
    BadPipeline,
    choose_pipeline,
    has_pipeline,
    parse_index,
    read_pipeline,
    variant_of,
)

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.30.0",
    "requires_safety_checker": False,
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": [None, None],
}
HEADER = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
WEIGHTS = struct.pack("<Q", len(HEADER)) + HEADER + b"\0\0\0\0"
UNET = {"in_channels": 4, "sample_size": 64}
VAE = {"latent_channels": 4, "block_out_channels": [128, 256, 512, 512]}
MODEL = {
    "model_index.json": json.dumps(INDEX).encode(),
    "README.md": b"---\nlicense: mit\n---\n",
    "sd.ckpt": b"pickle",
    "sd.safetensors": b"the same in one piece",
    "scheduler/scheduler_config.json": b"{}",
    "text_encoder/config.json": b"{}",
    "text_encoder/model.safetensors": WEIGHTS,
    "text_encoder/model.fp16.safetensors": WEIGHTS,
    "text_encoder/pytorch_model.bin": b"pickle",
    "unet/config.json": json.dumps(UNET).encode(),
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors": WEIGHTS,
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors": WEIGHTS,
    "unet/diffusion_pytorch_model.safetensors.index.json": b"{}",
    "unet/diffusion_pytorch_model.bin.index.json": b"{}",
    "unet/diffusion_pytorch_model.fp16.safetensors": WEIGHTS,
    "unet/run.py": b"print()",
    "vae/config.json": json.dumps(VAE).encode(),
    "vae/diffusion_pytorch_model.safetensors": WEIGHTS,
    "vae_old/config.json": b"{}",
    "vae_old/diffusion_pytorch_model.safetensors": WEIGHTS,
}
PLAIN = {
    "text_encoder/model.safetensors",
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
}


def lying(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "sd"
    for name, data in MODEL.items():
        if not name.endswith((".py", ".ckpt", ".bin")) and "fp16" not in name:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
    return place


def changed(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_repository_arrives_with_its_parts_and_nothing_that_runs(hub_server: Hub) -> None:
    hub_server.repos["org/sd"] = MODEL
    found = hub.pull("org/sd")
    assert found.kind == "hub"
    papers = {"README.md", "pulled.json", "model_index.json", "scheduler/scheduler_config.json"}
    configs = {f"{part}/config.json" for part in ("text_encoder", "unet", "vae")}
    index = {"unet/diffusion_pytorch_model.safetensors.index.json"}
    assert lying(found.path) == PLAIN | papers | configs | index
    assert has_pipeline(found.path)
    assert hub.find("org/sd") == found
    assert hub.installed() == [found]
    card = card_of_folder(found.path)
    assert (card.licence, card.abilities) == ("mit", ("draw", "edit", "restyle"))


def test_a_variant_is_a_model_of_its_own(hub_server: Hub) -> None:
    hub_server.repos["org/sd"] = MODEL
    found = hub.pull("org/sd:fp16")
    weights = {name for name in lying(found.path) if name.endswith(".safetensors")}
    assert weights == {
        "text_encoder/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    }
    assert variant_of(sorted(weights)) == "fp16"
    assert variant_of(PLAIN) is None


def test_a_broken_transfer_goes_on(hub_server: Hub) -> None:
    hub_server.repos["org/sd"] = MODEL
    name = "vae/diffusion_pytorch_model.safetensors"
    hub_server.cut[name] = 5
    with pytest.raises(PullError, match="goes on from there"):
        hub.pull("org/sd")
    hub_server.cut.clear()
    found = hub.pull("org/sd")
    assert (found.path / name).read_bytes() == WEIGHTS
    assert hub_server.ranges(name)[-1] == "bytes=5-"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"_class_name": ["pipeline", "Mine"]}, "_class_name is"),
        ({"unet": ["mine", "Mine"]}, "unet is"),
        ({"../unet": ["diffusers", "UNet2DConditionModel"]}, r"\.\./unet is"),
    ],
)
def test_a_repository_with_code_of_its_own_is_refused(
    hub_server: Hub, values: dict[str, object], words: str
) -> None:
    hub_server.repos["org/sd"] = {**MODEL, "model_index.json": json.dumps({**INDEX, **values}).encode()}
    with pytest.raises(PullError, match=words):
        hub.pull("org/sd")
    assert not hub.installed()


def test_pickles_are_refused_by_name(hub_server: Hub, folder: Path) -> None:
    hub_server.repos["org/sd"] = {
        **{name: data for name, data in MODEL.items() if not name.startswith("vae/d")},
        "vae/diffusion_pytorch_model.bin": b"pickle",
    }
    with pytest.raises(PullError, match=r"weights of vae as a pickle only \(diffusion_pytorch_model\.bin\)"):
        hub.pull("org/sd")
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(PullError, match="weights of vae as a pickle only"):
        hub.pull(str(folder))


def test_a_folder_is_registered_where_it_lies(folder: Path) -> None:
    assert hub.pull(str(folder)).path == folder
    assert hub.find("sd").path == folder
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(PullError, match="nothing was registered"):
        hub.pull(str(folder))


def test_what_a_folder_says(folder: Path) -> None:
    found = read_pipeline(folder)
    assert (found.class_name, found.size, found.only_edits) == ("StableDiffusionPipeline", 512, False)
    assert set(found.parts) == {"unet", "vae", "text_encoder", "scheduler"}
    changed(folder / "unet" / "config.json", in_channels=9, sample_size=96)
    found = read_pipeline(folder)
    assert (found.size, found.only_edits) == (768, True)


def test_code_in_a_folder_is_refused(folder: Path) -> None:
    changed(folder / "text_encoder" / "config.json", auto_map={"AutoModel": "mine.Mine"})
    with pytest.raises(BadPipeline, match="auto_map"):
        read_pipeline(folder)
    (folder / "pipeline.py").write_text("raise SystemExit\n")
    with pytest.raises(BadPipeline, match=r"found pipeline\.py"):
        read_pipeline(folder)


def test_what_is_damaged_or_missing_is_named(folder: Path) -> None:
    index = parse_index(MODEL["model_index.json"])
    with pytest.raises(BadPipeline, match="no folder unet"):
        choose_pipeline("org/sd", [name for name in MODEL if "unet" not in name], index)
    with pytest.raises(BadPipeline, match="no variant 'int4'"):
        choose_pipeline("org/sd", list(MODEL), index, "int4")
    (folder / "model_index.json").write_text("{")
    with pytest.raises(BadPipeline, match=r"model_index\.json: is not JSON"):
        read_pipeline(folder)
