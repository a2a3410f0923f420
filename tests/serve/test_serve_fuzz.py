"""Whatever comes over the wire, the answer is JSON in a known shape, never a 500, and nothing stays open."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from serving import Served

from tokenloom.serve.schema_chat import ChatRequest
from tokenloom.serve.schema_completions import CompletionRequest

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KNOWN = [200, 400, 404, 413, 415, 422]
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.sampled_from(["tiny", "user", "auto", "function", "json_schema"])
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def right(response: Any) -> None:
    assert response.status_code in KNOWN, response.text
    if response.headers["content-type"].startswith("text/event-stream"):
        assert response.text.endswith("data: [DONE]\n\n")
        return
    answer = response.json()
    if response.status_code != 200:
        assert set(answer) == {"error"}
        assert isinstance(answer["error"]["message"], str)
        assert answer["error"]["message"]
    else:
        assert answer["choices"]


@FEW
@given(data=st.data())
def test_one_field_of_a_chat_is_anything(served: Served, data: Any) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "SAY(x)YAS"}], "max_tokens": 4}
    name = data.draw(st.sampled_from(sorted({*ChatRequest.model_fields, *ChatRequest.refused})))
    body[name] = data.draw(values)
    right(served.post("/v1/chat/completions", body))
    assert served.engine.idle()


@FEW
@given(data=st.data())
def test_one_field_of_a_completion_is_anything(served: Served, data: Any) -> None:
    body: dict[str, Any] = {"model": "tiny", "prompt": "SAY(x)YAS", "max_tokens": 4}
    body[data.draw(st.sampled_from(sorted(CompletionRequest.model_fields)))] = data.draw(values)
    right(served.post("/v1/completions", body))
    assert served.engine.idle()


@FEW
@given(messages=st.lists(st.dictionaries(
    st.sampled_from(["role", "content", "name", "tool_calls", "tool_call_id", "refusal"]), values, max_size=4
), max_size=4))  # fmt: skip
def test_messages_are_anything(served: Served, messages: list[Any]) -> None:
    answer = served.post("/v1/chat/completions", {"model": "tiny", "messages": messages, "max_tokens": 4})
    right(answer)
    roles = ("system", "developer", "user", "assistant", "tool")
    if not messages or any(message.get("role") not in roles for message in messages):
        assert answer.status_code in (400, 422), answer.text
    assert served.engine.idle()


@FEW
@given(text=st.text(max_size=200))
def test_any_text_comes_back(served: Served, text: str) -> None:
    """Any text, control characters and special tokens' spellings too, is said and comes back as it was."""
    said = text.replace("YAS", "") or "x"
    assume(not any(word in said for word in ("SAY(", "LOOP(", "HANG", "BREAK")))
    body = {"model": "tiny", "messages": [{"role": "user", "content": f"SAY({said})YAS"}]}
    answer = served.post("/v1/chat/completions", body)
    assert answer.json()["choices"][0]["message"]["content"] == said


@FEW
@given(raw=st.binary(max_size=300))
def test_bytes_are_anything(served: Served, raw: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = served.client.post(served.v1 + "/chat/completions", content=raw, headers=headers)
    right(answer)
    assert answer.status_code in (400, 422), "no request for a chat is met by chance"
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert served.engine.idle()


@FEW
@given(body=values, cut=st.integers(0, 200))
def test_json_cut_off(served: Served, body: Any, cut: int) -> None:
    raw = json.dumps({"model": "tiny", "prompt": body}).encode()
    headers = {"content-type": "application/json"}
    right(
        served.client.post(served.v1 + "/completions", content=raw[: max(1, len(raw) - cut)], headers=headers)
    )
    assert served.engine.idle()
