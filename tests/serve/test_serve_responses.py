"""/v1/responses by the official client: text, tools, structured output, streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from serving import Serve, Served
from test_serve_tools import PARIS, WEATHER, say

from tokenloom.tokens.text import load_tokenizer

TOOL: Any = {"type": "function", **WEATHER["function"]}


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=served.v1, api_key="unused", max_retries=0) as found:
        yield found


def test_a_text(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="tiny", input=say("Hello."), instructions="Be brief.")
    assert answer.output_text == "Hello."
    assert answer.status == "completed"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    cut = client.responses.create(model="tiny", input="LOOP(a b )POOL", max_output_tokens=4)
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


def test_a_conversation_with_tools(client: openai.OpenAI, serve: Serve, model_folder: Any) -> None:
    asked: Any = [{"role": "user", "content": say(f"Wait. {PARIS}")}]
    answer = client.responses.create(model="tiny", input=asked, tools=[TOOL])
    assert [item.type for item in answer.output] == ["message", "function_call"]
    call: Any = answer.output[1]
    assert json.loads(call.arguments) == {"city": "Paris"}
    asked += [item.model_dump(exclude_none=True) for item in answer.output]
    asked += [{"type": "function_call_output", "call_id": call.call_id, "output": say("It rains.")}]
    again = client.responses.create(model="tiny", input=asked, tools=[TOOL])
    assert again.output_text == "It rains."
    served: Served = serve()
    body = {"model": "tiny", "input": asked, "tools": [TOOL]}
    assert served.post("/v1/responses", body).status_code == 200
    prompt = load_tokenizer(model_folder).decode(served.engine.seen[-1].ids)
    assert prompt.count('"city": "Paris"') == 2
    assert "<tool_response>" in prompt


def test_a_stream_tells_what_the_whole_says(client: openai.OpenAI) -> None:
    with client.responses.stream(model="tiny", input=say(f"Wait. {PARIS}"), tools=[TOOL]) as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.output_text == "Wait."
    parts = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    call: Any = final.output[1]
    assert "".join(parts) == call.arguments
    assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done") == 2


def test_structured_output(client: openai.OpenAI, served: Served) -> None:
    class City(BaseModel):
        name: str

    answer = client.responses.parse(model="tiny", input=say('{"name": "Oslo"}'), text_format=City)
    assert answer.output_parsed == City(name="Oslo")
    constraint = served.engine.seen[-1].constraint
    assert constraint is not None
    assert constraint.kind == "json_schema"


@pytest.mark.parametrize(
    ("more", "status", "param"),
    [
        ({"previous_response_id": "resp_1"}, 400, "previous_response_id"),
        ({"store": True}, 422, "store"),
        ({"reasoning": {"effort": "low"}}, 400, "reasoning"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, 422, "input"),
        ({"input": "word " * 9000}, 400, "input"),
        ({"tools": [{"type": "web_search"}]}, 422, "tools[0].type"),
        ({"truncation": "auto"}, 422, "truncation"),
        ({"model": "none"}, 404, "model"),
        ({"input": []}, 422, "input"),
    ],
)
def test_what_is_not_done_is_named(served: Served, more: dict[str, Any], status: int, param: str) -> None:
    answer = served.post("/v1/responses", {"model": "tiny", "input": "x", **more})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"].startswith(param), answer.text
