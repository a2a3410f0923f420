"""A small tokenizer, an engine without a model, and a real server on a port of its own."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fake_engine import FakeEngine, Place
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tokenloom.serve.app import create_app
from tokenloom.serve.settings import Settings

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    "Hello there. The quick brown fox jumps over the lazy dog. SAY( )YAS LOOP( )POOL HANG BREAK",
    '{"name": "get_weather", "arguments": {"city": "Paris", "unit": "celsius"}} <tool_call> </tool_call>',
    "system user assistant You are a helpful assistant. What is the weather in Paris? 你好，世界。天气很好。",
] * 4


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a byte-level BPE tokenizer and a ChatML template; no weights."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=alphabet)
    backend.train_from_iterator(CORPUS, trainer)
    backend.save(str(folder / "tokenizer.json"))
    config = {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "chat_template": TEMPLATE,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "eos_token_id": 2}))
    return folder


@dataclass
class Served:
    url: str
    """http://127.0.0.1:PORT"""
    engine: FakeEngine
    app: Any
    client: httpx.Client

    @property
    def v1(self) -> str:
        return self.url + "/v1"

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return self.client.post(self.url + path, json=body, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(self.url + path, **options)


Serve = Callable[..., Any]


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The app on a free port of 127.0.0.1, in a thread."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture
def serve(model_folder: Path) -> Iterator[Serve]:
    """serve(engine=..., wait=True, find=..., **settings) -> Served, until the test ends."""
    with _serving(model_folder) as start:
        yield start


@pytest.fixture(scope="module")
def served(model_folder: Path) -> Iterator[Served]:
    """One server with the default settings for a whole file."""
    with _serving(model_folder) as start:
        yield start()


@contextmanager
def _serving(model_folder: Path) -> Iterator[Serve]:
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(engine: FakeEngine | None = None, wait: bool = True, **settings: Any) -> Served:
            engine = engine or FakeEngine()
            options = {"models": ("tiny",), "first_news_s": 0.2, **settings}
            find = options.pop("find", lambda name: Place(name, model_folder))
            app = create_app(engine, Settings(**options), find=find)
            url = stack.enter_context(running(app))
            while wait and app.state.desk.models.starting:
                time.sleep(0.01)
            client = stack.enter_context(httpx.Client(timeout=60, trust_env=False))
            return Served(url, engine, app, client)

        yield start
