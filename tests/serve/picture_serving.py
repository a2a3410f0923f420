"""A picture model and a text model, both of random weights, behind a real server with a real engine."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import torch
from fake_engine import Place
from PIL import Image
from serving import running
from tiny_painter import tiny_painter

from tokenloom.engine.process import EngineProcess
from tokenloom.model.features import ModelConfig
from tokenloom.model.save import save_model
from tokenloom.model.transformer import Transformer, init_weights
from tokenloom.serve.app import create_app
from tokenloom.serve.settings import Settings
from tokenloom.tokens.text import load_tokenizer


@dataclass(frozen=True)
class Gallery:
    url: str
    client: openai.OpenAI
    http: httpx.Client
    engine: EngineProcess


def text_model(folder: Path, tokenizer_folder: Path) -> Path:
    tokenizer = load_tokenizer(tokenizer_folder)
    config = ModelConfig(
        n_layer=2, n_head=4, n_kv_head=2, dim=64, head_dim=16, ffn_dim=96, vocab_size=tokenizer.vocab_size,
        context=512, eos_ids=tokenizer.eos_ids, bos_id=tokenizer.bos_id, tied=True,
    )  # fmt: skip
    network = Transformer(config)
    init_weights(network, 1, std=0.3)
    save_model(network, folder, tokenizer_files_from=tokenizer_folder, dtype="float32")
    return folder


@contextmanager
def gallery(place: Path, tokenizer_folder: Path, **settings: object) -> Iterator[Gallery]:
    """The models `writer` and `painter`; a request that names none is answered by the one that can."""
    torch.set_num_threads(1)
    folders = {
        "writer": text_model(place / "writer", tokenizer_folder),
        "painter": tiny_painter(place / "painter"),
    }
    options = {"models": tuple(folders), "first_news_s": 0.2, **settings}
    app = create_app(
        EngineProcess(threads=1, flush_ms=0),  # each step is news: pictures this small are done in one flush
        Settings(**options),
        find=lambda name: Place(name, folders[name]),  # type: ignore[arg-type]
    )
    with running(app) as url, httpx.Client(timeout=120, trust_env=False) as http:
        for _ in range(600):
            if http.get(url + "/health").status_code == 200:
                break
            time.sleep(0.1)
        with openai.OpenAI(base_url=url + "/v1", api_key="x", max_retries=0, timeout=120) as client:
            yield Gallery(url, client, http, app.state.desk.engine)


def png(width: int = 64, height: int = 64, colour: tuple[int, ...] = (200, 30, 30, 255)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def mask(width: int = 64, height: int = 64) -> bytes:
    """Clear in the upper left quarter, as OpenAI's masks are."""
    image = Image.new("RGBA", (width, height), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, width // 2, height // 2))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def opened(b64_json: str | None) -> Image.Image:
    assert b64_json is not None
    image = Image.open(io.BytesIO(base64.b64decode(b64_json)))
    image.load()
    return image


def url_of(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
