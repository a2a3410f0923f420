"""The official openai client against a real socket: sync, async, streams, tools, structured output."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from serving import Serve, Served
from test_serve_tools import PARIS, WEATHER, say


class Weather(BaseModel):
    city: str
    degrees: int


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=served.v1, api_key="unused", max_retries=0) as found:
        yield found


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "tokenloom"


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=user(say("Hello, 世界.")), logprobs=True, top_logprobs=3, n=2, seed=1,
        user="me", max_completion_tokens=99, stop=["###"],
    )  # fmt: skip
    assert [choice.message.content for choice in answer.choices] == ["Hello, 世界."] * 2
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 3
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.content is not None
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 3


def test_stream(client: openai.OpenAI) -> None:
    text, usage = "", None
    options: Any = {"include_usage": True}
    for chunk in client.chat.completions.create(
        model="tiny", messages=user(say("bit by bit 🎉")), stream=True, stream_options=options
    ):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        usage = chunk.usage or usage
    assert text == "bit by bit 🎉"
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_the_streaming_helper_puts_it_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="tiny", messages=user(say("one two"))) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == "one two"
    assert final.choices[0].finish_reason == "stop"


def test_tools(client: openai.OpenAI) -> None:
    tools: Any = [WEATHER]
    messages = user(say(PARIS))
    answer = client.chat.completions.create(model="tiny", messages=messages, tools=tools)
    calls: Any = answer.choices[0].message.tool_calls
    assert json.loads(calls[0].function.arguments) == {"city": "Paris"}
    messages += [answer.choices[0].message.model_dump(exclude_none=True)]
    messages += [{"role": "tool", "tool_call_id": calls[0].id, "content": say("It rains.")}]
    again = client.chat.completions.create(model="tiny", messages=messages, tools=tools)
    assert again.choices[0].message.content == "It rains."
    with client.chat.completions.stream(model="tiny", messages=user(say(PARIS)), tools=tools) as stream:
        streamed: Any = stream.get_final_completion().choices[0]
    assert streamed.finish_reason == "tool_calls"
    assert streamed.message.tool_calls[0].function.arguments == calls[0].function.arguments


def test_tools_parsed_by_the_client(client: openai.OpenAI) -> None:
    tool = openai.pydantic_function_tool(Weather, name="get_weather")
    text = say(
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome", "degrees": 30}}\n</tool_call>'
    )
    answer = client.chat.completions.parse(model="tiny", messages=user(text), tools=[tool])
    calls: Any = answer.choices[0].message.tool_calls
    assert calls[0].function.parsed_arguments == Weather(city="Rome", degrees=30)


def test_structured_output(client: openai.OpenAI) -> None:
    messages = user(say('{"city": "Oslo", "degrees": -5}'))
    answer = client.chat.completions.parse(model="tiny", messages=messages, response_format=Weather)
    assert answer.choices[0].message.parsed == Weather(city="Oslo", degrees=-5)


def test_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt=say("more"), echo=True, logprobs=2, max_tokens=8)
    assert answer.choices[0].text == say("more") + "more"
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.token_logprobs is not None
    chunks = client.completions.create(model="tiny", prompt=[say("a"), say("b")], stream=True)
    texts = {0: "", 1: ""}
    for chunk in chunks:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == {0: "a", 1: "b"}


def test_extras_by_extra_body(client: openai.OpenAI, served: Served) -> None:
    extra = {"top_k": 5, "min_p": 0.1, "structured_outputs": {"regex": "a+"}}
    client.chat.completions.create(model="tiny", messages=user("x"), extra_body=extra)
    request = served.engine.seen[-1]
    assert (request.sampling.top_k, request.sampling.min_p) == (5, 0.1)


def test_async(served: Served) -> None:
    async def many() -> list[str]:
        async with openai.AsyncOpenAI(base_url=served.v1, api_key="x", max_retries=0) as client:

            async def one(number: int) -> str:
                text = ""
                async for chunk in await client.chat.completions.create(
                    model="tiny", messages=user(say(f"number {number}")), stream=True
                ):
                    text += chunk.choices[0].delta.content or ""
                return text

            return await asyncio.gather(*(one(number) for number in range(16)))

    assert asyncio.run(many()) == [f"number {number}" for number in range(16)]


def test_errors_are_the_clients_own(client: openai.OpenAI, serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(openai.NotFoundError, match="tiny"):
        client.chat.completions.create(model="gpt-9", messages=user("x"))
    with pytest.raises(openai.BadRequestError, match="2048") as long:
        client.chat.completions.create(model="tiny", messages=user("word " * 9000))
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.UnprocessableEntityError, match="temperature"):
        client.chat.completions.create(model="tiny", messages=user("x"), temperature=9)
    with pytest.raises(openai.APIError, match="the fake engine broke"):
        for _ in client.chat.completions.create(model="tiny", messages=user("BREAK"), stream=True):
            pass
    path = tmp_path / "keys.txt"
    path.write_text("a-key-of-enough-characters")
    guarded: Served = serve(api_keys=path, requests_per_minute=1)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=guarded.v1, api_key="wrong", max_retries=0).models.list()
    known = openai.OpenAI(base_url=guarded.v1, api_key="a-key-of-enough-characters", max_retries=0)
    known.chat.completions.create(model="tiny", messages=user("x"))
    with pytest.raises(openai.RateLimitError):
        known.chat.completions.create(model="tiny", messages=user("x"))
