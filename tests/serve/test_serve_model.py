"""The real SmolLM2 in the engine's process behind a real socket."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fake_engine import Place
from pydantic import BaseModel
from serving import running

from tokenloom.engine.process import EngineProcess
from tokenloom.serve.app import create_app
from tokenloom.serve.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.model]


@pytest.fixture(scope="module")
def url(smollm2: Path) -> Iterator[str]:
    engine = EngineProcess(threads=1)
    app = create_app(engine, Settings(models=("smollm2",)), find=lambda name: Place(name, smollm2))
    with running(app) as found:
        for _ in range(1200):
            if httpx.get(found + "/health").status_code == 200:
                break
            time.sleep(0.1)
        yield found
    assert not engine.alive


@pytest.fixture(scope="module")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url + "/v1", api_key="x", max_retries=0, timeout=240)


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_it_answers(client: openai.OpenAI) -> None:
    question = user("What is the capital of France? Answer in one word.")
    whole = client.chat.completions.create(model="smollm2", messages=question, temperature=0, max_tokens=24)
    assert "Paris" in (whole.choices[0].message.content or "")
    stream = client.chat.completions.create(
        model="smollm2", messages=question, temperature=0, max_tokens=24, stream=True
    )
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole.choices[0].message.content
    )


def test_the_same_seed_gives_the_same_answer(client: openai.OpenAI) -> None:
    def once(seed: int) -> list[str | None]:
        answer = client.chat.completions.create(
            model="smollm2", messages=user("Write a line of verse."), seed=seed, max_tokens=16, n=2
        )
        return [choice.message.content for choice in answer.choices]

    first = once(3)
    assert first[0] != first[1]
    assert once(3) == first
    assert once(4) != first


def test_a_schema_is_held(client: openai.OpenAI) -> None:
    class City(BaseModel):
        name: str
        capital: bool

    answer = client.chat.completions.parse(
        model="smollm2", messages=user("Describe Paris."), response_format=City, max_tokens=120, temperature=0
    )
    assert isinstance(answer.choices[0].message.parsed, City)
    extra: Any = {"structured_outputs": {"choice": ["blue", "green"]}}
    said = client.chat.completions.create(
        model="smollm2", messages=user("Sky?"), extra_body=extra, max_tokens=9
    )
    assert said.choices[0].message.content in ("blue", "green")
    assert said.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"structured_outputs": {"regex": "(("}}, "structured_outputs"),
        ({"structured_outputs": {"grammar": "start: nothing"}}, "structured_outputs"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "cow"}},
                }
            },
            "response_format",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_impossible_constraint_is_the_askers_error(
    client: openai.OpenAI, extra: Any, param: str, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model="smollm2", messages=user("x"), extra_body={**extra, "stream": stream}
        )
    assert refused.value.param == param
    assert refused.value.code == "invalid_constraint"


def test_a_required_tool_is_called(client: openai.OpenAI) -> None:
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
    }
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]
    answer = client.chat.completions.create(
        model="smollm2", messages=user("The weather in Paris?"), tools=tools, tool_choice="required",
        max_tokens=80, temperature=0, parallel_tool_calls=False,
    )  # fmt: skip
    calls: Any = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert set(json.loads(calls[0].function.arguments)) == {"city"}


def test_echo_scores_are_those_of_the_answer(client: openai.OpenAI) -> None:
    """What greedy decoding scored on its way, scoring the whole text finds again."""
    made = client.completions.create(
        model="smollm2", prompt="The cat sat on", max_tokens=6, temperature=0, logprobs=1
    ).choices[0]
    whole = client.completions.create(
        model="smollm2",
        prompt="The cat sat on" + made.text,
        max_tokens=1,
        temperature=0,
        logprobs=1,
        echo=True,
    ).choices[0]
    assert made.logprobs is not None
    assert whole.logprobs is not None
    assert whole.logprobs.tokens is not None
    assert whole.logprobs.token_logprobs is not None
    assert made.logprobs.tokens == whole.logprobs.tokens[-7:-1]
    assert whole.logprobs.token_logprobs[-7:-1] == pytest.approx(made.logprobs.token_logprobs, abs=1e-3)


def test_long_answers_of_clients_that_left_stop(url: str) -> None:
    body = {"model": "smollm2", "messages": user("Count to a million."), "stream": True, "ignore_eos": True}
    with httpx.stream("POST", url + "/v1/chat/completions", json=body, timeout=60) as answer:
        assert answer.status_code == 200
        said = answer.iter_lines()
        for _ in range(9):
            assert "error" not in next(said)
        assert runs(url, 1), "the engine says nothing of a request that it answers"
    assert runs(url, 0), "the engine still runs a request that nobody waits for"


def runs(url: str, requests: int) -> bool:
    """Waits until so many requests are in the engine, at most a minute."""
    for _ in range(600):
        if f'figure="requests",model="smollm2"}} {requests}.0' in httpx.get(url + "/metrics").text:
            return True
        time.sleep(0.1)
    return False


def test_the_engines_death_is_told_and_survived(url: str, client: openai.OpenAI, smollm2: Path) -> None:
    import os
    import signal

    app_engine = EngineProcess(threads=1)
    app = create_app(app_engine, Settings(models=("smollm2",)), find=lambda name: Place(name, smollm2))
    with running(app) as own, httpx.Client(base_url=own, timeout=120) as http:
        while http.get("/health").status_code != 200:
            time.sleep(0.1)
        body = {
            "model": "smollm2",
            "messages": user("Tell me a long story."),
            "stream": True,
            "ignore_eos": True,
        }
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            while "content" not in next(lines):
                pass
            pid = app_engine.status().pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            last = [line for line in lines if line.startswith("data: ")][-1]
        assert "starts again" in json.loads(last.removeprefix("data: "))["error"]["message"]
        again = http.post("/v1/chat/completions", json={**body, "stream": False, "max_tokens": 3})
        assert again.status_code == 200, again.text
        assert "tokenloom_engine_restarts 1.0" in http.get("/metrics").text
