"""Tools: into the prompt, out of the text, streamed as OpenAI streams them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from serving import Serve, Served
from test_serve_chat import ask, events

from tokenloom.tokens.text import load_tokenizer

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TIME = {"type": "function", "function": {"name": "get_time"}}


def call(name: str, **arguments: Any) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {json.dumps(arguments)}}}\n</tool_call>'


PARIS, OSLO = call("get_weather", city="Paris"), call("get_weather", city="Oslo")


def say(text: str) -> str:
    return f"SAY({text})YAS"


def joined(chunks: list[Any]) -> dict[str, Any]:
    """A streamed message put together as clients do."""
    text, calls, finish = "", {}, None
    for chunk in chunks:
        choice = chunk["choices"][0]
        text += choice["delta"].get("content") or ""
        for delta in choice["delta"].get("tool_calls", ()):
            if delta["index"] not in calls:
                assert delta["id"]
                assert delta["type"] == "function"
                assert delta["function"]["name"]
                calls[delta["index"]] = {"name": delta["function"]["name"], "arguments": ""}
            else:
                assert set(delta) == {"index", "function"}
                assert set(delta["function"]) == {"arguments"}
            calls[delta["index"]]["arguments"] += delta["function"]["arguments"]
        finish = choice["finish_reason"] or finish
    return {"text": text, "calls": [calls[index] for index in sorted(calls)], "finish": finish}


@pytest.mark.parametrize(
    ("said", "text", "cities", "finish"),
    [
        (PARIS, "", ["Paris"], "tool_calls"),
        (f"Let me see. {PARIS}", "Let me see.", ["Paris"], "tool_calls"),
        (f"{PARIS}\n{OSLO}", "", ["Paris", "Oslo"], "tool_calls"),
        ("No tool helps.", "No tool helps.", [], "stop"),
        (call("unknown", a=1), call("unknown", a=1), [], "stop"),
        ("<tool_call> is a tag", "<tool_call> is a tag", [], "stop"),
    ],
)
def test_calls_are_read_out_of_the_text(
    served: Served, said: str, text: str, cities: list[str], finish: str
) -> None:
    body = ask(say(said), tools=[WEATHER, TIME])
    choice = served.post("/v1/chat/completions", body).json()["choices"][0]
    assert choice["finish_reason"] == finish
    assert (choice["message"]["content"] or "") == text
    assert (choice["message"]["content"] is None) == (not text)
    calls = choice["message"].get("tool_calls", [])
    assert [json.loads(one["function"]["arguments"])["city"] for one in calls] == cities
    assert len({one["id"] for one in calls}) == len(calls)
    streamed = joined(events(served.post("/v1/chat/completions", {**body, "stream": True}))[:-1])
    assert streamed["finish"] == finish
    assert streamed["text"] == text
    assert streamed["calls"] == [one["function"] for one in calls]


def test_arguments_come_in_pieces(served: Served) -> None:
    body = ask(say(call("get_weather", city="a rather long name of a city")), tools=[WEATHER], stream=True)
    chunks = events(served.post("/v1/chat/completions", body))[:-1]
    pieces = [chunk for chunk in chunks if chunk["choices"][0]["delta"].get("tool_calls")]
    assert len(pieces) > 3


def test_one_call_only(served: Served) -> None:
    body = ask(say(f"{PARIS}\n{OSLO} and more"), tools=[WEATHER], parallel_tool_calls=False)
    choice = served.post("/v1/chat/completions", body).json()["choices"][0]
    assert len(choice["message"]["tool_calls"]) == 1
    assert choice["finish_reason"] == "tool_calls"
    streamed = joined(events(served.post("/v1/chat/completions", {**body, "stream": True}))[:-1])
    assert len(streamed["calls"]) == 1
    assert streamed["finish"] == "tool_calls"
    assert served.engine.idle()


@pytest.mark.parametrize("choice", ["required", "auto"])
def test_a_call_cut_off_anywhere_leaks_nothing(served: Served, model_folder: Any, choice: str) -> None:
    said = f"{PARIS}\n{OSLO}"
    tokenizer = load_tokenizer(model_folder)
    ids = tokenizer.encode(said)
    for limit in range(1, len(ids)):
        body = ask(say(said), tools=[WEATHER], max_tokens=limit, tool_choice=choice)
        given = tokenizer.decode(ids[:limit])
        found = served.post("/v1/chat/completions", body).json()["choices"][0]
        assert found["finish_reason"] == "length"
        content = found["message"]["content"] or ""
        if choice == "required":
            assert found["message"]["content"] is None
        assert content.strip() in ("", "<", "<t", "<to", "<too")  # where it is free that may be text
        whole = [city for city in ("Paris", "Oslo") if f'"{city}"}}' in given]
        calls = found["message"].get("tool_calls", [])
        assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"city": c} for c in whole]
        streamed = joined(events(served.post("/v1/chat/completions", {**body, "stream": True}))[:-1])
        assert streamed["finish"] == "length"
        assert streamed["text"] == content
        assert {call["name"] for call in streamed["calls"]} <= {"get_weather"}


def test_a_call_cut_off_is_incomplete_as_an_item(served: Served) -> None:
    tool = {"type": "function", **WEATHER["function"]}
    body = {"model": "tiny", "input": say(PARIS), "tools": [tool], "tool_choice": "required"}
    whole = served.post("/v1/responses", body).json()["output"]
    assert [item["status"] for item in whole] == ["completed"]
    statuses = set()
    for limit in range(1, 60):
        found = served.post("/v1/responses", {**body, "max_output_tokens": limit}).json()
        if found["status"] == "completed":
            break
        for item in found["output"]:
            assert item["type"] == "function_call"
            assert item["status"] == ("completed" if item["arguments"].endswith("}") else "incomplete")
            statuses.add(item["status"])
    assert "incomplete" in statuses


def test_tools_are_in_the_prompt_unless_none(serve: Serve, model_folder: Any) -> None:
    served = serve()
    tokenizer = load_tokenizer(model_folder)
    expected = [
        ({"tools": [WEATHER]}, True),
        ({"tools": [WEATHER], "tool_choice": "none"}, False),
        ({"tools": []}, False),
    ]
    for more, there in expected:
        answer = served.post("/v1/chat/completions", ask(say(PARIS), **more)).json()
        assert ("The weather in a city." in tokenizer.decode(served.engine.seen[-1].ids)) == there
        assert bool(answer["choices"][0]["message"].get("tool_calls")) == there


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_required_call_is_a_constraint(serve: Serve, choice: Any) -> None:
    served = serve()
    body = ask(say(PARIS), tools=[WEATHER, TIME], tool_choice=choice)
    answer = served.post("/v1/chat/completions", body).json()["choices"][0]
    constraint = served.engine.seen[-1].constraint
    assert constraint is not None
    assert constraint.kind == "grammar"
    assert "get_weather" in constraint.text
    assert ("get_time" in constraint.text) == (choice == "required")
    assert answer["finish_reason"] == "tool_calls"


def test_a_format_beside_tools_allows_either(serve: Serve) -> None:
    served = serve()
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    body = ask(say(PARIS), tools=[WEATHER], response_format=form)
    assert served.post("/v1/chat/completions", body).status_code == 200
    constraint = served.engine.seen[-1].constraint
    assert constraint is not None
    assert "start: calls | answer" in constraint.text
    llguidance = pytest.importorskip("llguidance")
    grammar = llguidance.LLMatcher.grammar_from_lark(constraint.text)
    assert llguidance.LLMatcher.validate_grammar(grammar) == ""
    refused = served.post("/v1/chat/completions", {**body, "tool_choice": "required"})
    assert refused.json()["error"]["param"] == "tool_choice"
    del body["response_format"]
    refused = served.post("/v1/chat/completions", {**body, "structured_outputs": {"regex": "a"}})
    assert refused.status_code == 400


def test_calls_and_results_of_before_are_told(serve: Serve, model_folder: Any) -> None:
    served = serve()
    before = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function",
                 "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "Sunny in Rome."},
    ]  # fmt: skip
    for more in ({"tools": [WEATHER]}, {}):
        body = {"model": "tiny", "messages": before, **more}
        assert served.post("/v1/chat/completions", body).status_code == 200
        prompt = load_tokenizer(model_folder).decode(served.engine.seen[-1].ids)
        assert '"city": "Rome"' in prompt
        assert "Sunny in Rome." in prompt
