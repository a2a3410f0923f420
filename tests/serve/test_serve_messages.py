"""/v1/messages: Anthropic's shapes, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from serving import Serve, Served
from test_serve_tools import PARIS, WEATHER, say

from tokenloom.tokens.text import load_tokenizer

TOOL = {"name": "get_weather", "input_schema": WEATHER["function"]["parameters"]}


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "tiny", "max_tokens": 200, "messages": [{"role": "user", "content": text}], **more}


def told(text: str) -> list[Any]:
    events = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def test_a_text(served: Served) -> None:
    answer = served.post("/v1/messages", ask(say("Hello."), system="Be brief.")).json()
    assert (answer["type"], answer["role"], answer["stop_reason"]) == ("message", "assistant", "end_turn")
    assert answer["content"] == [{"type": "text", "text": "Hello."}]
    assert answer["usage"]["cache_read_input_tokens"] == 3
    assert (
        served.post("/v1/messages", ask("LOOP(a b )POOL", max_tokens=3)).json()["stop_reason"] == "max_tokens"
    )
    ended = served.post("/v1/messages", ask("LOOP(abc END )POOL", stop_sequences=["zz", "END"])).json()
    assert (ended["stop_reason"], ended["stop_sequence"]) == ("stop_sequence", "END")
    assert ended["content"] == [{"type": "text", "text": "abc "}]


def test_tools_whole_and_streamed(serve: Serve, model_folder: Any) -> None:
    served: Served = serve()
    body = ask(say(f"Wait. {PARIS}"), tools=[TOOL])
    answer = served.post("/v1/messages", body).json()
    assert answer["stop_reason"] == "tool_use"
    text, use = answer["content"]
    assert text == {"type": "text", "text": "Wait."}
    assert (use["name"], use["input"]) == ("get_weather", {"city": "Paris"})
    events = told(served.post("/v1/messages", {**body, "stream": True}).text)
    kinds = [event["type"] for event in events]
    assert (kinds[0], kinds[-2], kinds[-1]) == ("message_start", "message_delta", "message_stop")
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 2
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == "Wait."
    assert json.loads("".join(delta.get("partial_json", "") for delta in deltas)) == {"city": "Paris"}
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    assert events[-2]["usage"] == answer["usage"]
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": say("It rains.")}
    turns = [*body["messages"], {"role": "assistant", "content": answer["content"]},
             {"role": "user", "content": [result]}]  # fmt: skip
    again = served.post("/v1/messages", {**body, "messages": turns}).json()
    assert again["content"] == [{"type": "text", "text": "It rains."}]
    assert "<tool_response>" in load_tokenizer(model_folder).decode(served.engine.seen[-1].ids)
    served.post("/v1/messages", {**body, "tool_choice": {"type": "any"}})
    assert served.engine.seen[-1].constraint is not None


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"max_tokens": None}, 422),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, 422),
        ({"tool_choice": {"type": "tool"}}, 422),
        ({"mcp_servers": []}, 400),
        ({"model": "none"}, 404),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, 422),
        ({"messages": [{"role": "user", "content": "word " * 9000}]}, 400),
    ],
)
def test_errors_have_both_shapes(served: Served, more: dict[str, Any], status: int) -> None:
    answer = served.post("/v1/messages", {**ask("x"), **more})
    assert answer.status_code == status, answer.text
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["message"]
