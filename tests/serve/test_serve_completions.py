"""The older completions route, as scripts and evaluation harnesses use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_engine import logprob_of
from serving import Serve, Served
from test_serve_chat import events

from tokenloom.tokens.text import load_tokenizer


def ask(prompt: Any, **more: Any) -> dict[str, Any]:
    return {"model": "tiny", "prompt": prompt, **more}


def test_a_text_goes_on(served: Served) -> None:
    answer = served.post("/v1/completions", ask("SAY( and on it went)YAS")).json()
    assert answer["object"] == "text_completion"
    choice = {"text": " and on it went", "index": 0, "logprobs": None, "finish_reason": "stop"}
    assert answer["choices"] == [choice]


def test_max_tokens_is_16_unless_asked(served: Served) -> None:
    answer = served.post("/v1/completions", ask("LOOP(abc )POOL")).json()
    assert answer["usage"]["completion_tokens"] == 16
    assert answer["choices"][0]["finish_reason"] == "length"


def test_many_prompts_in_every_form(served: Served, model_folder: Path) -> None:
    tokenizer = load_tokenizer(model_folder)
    texts = [f"SAY(answer {number})YAS" for number in range(3)]
    ids = [tokenizer.encode(text) for text in texts]
    for prompt in (texts, ids):
        answer = served.post("/v1/completions", ask(prompt, n=2)).json()
        said = [choice["text"] for choice in sorted(answer["choices"], key=lambda choice: choice["index"])]
        assert said == [f"answer {number}" for number in range(3) for _ in range(2)]
        assert [choice["index"] for choice in answer["choices"]] == list(range(6))
        assert answer["usage"]["prompt_tokens"] == sum(map(len, ids))
    for prompt in (texts[1], ids[1]):
        assert served.post("/v1/completions", ask(prompt)).json()["choices"][0]["text"] == "answer 1"


@pytest.mark.parametrize("limit", [0, 1, 4])
@pytest.mark.parametrize("stream", [False, True])
def test_echo_with_logprobs_as_harnesses_read_it(
    served: Served, model_folder: Path, limit: int, stream: bool
) -> None:
    tokenizer = load_tokenizer(model_folder)
    prompt = "LOOP(so)POOL and 世"
    ids = tokenizer.encode(prompt)
    body = ask([ids], echo=True, logprobs=1, max_tokens=limit, temperature=0, stream=stream)
    response = served.post("/v1/completions", body)
    choices = (
        [event["choices"][0] for event in events(response)[:-1]] if stream else response.json()["choices"]
    )
    lists: dict[str, list[Any]] = {}
    for choice in choices:
        for name, values in choice["logprobs"].items():
            lists.setdefault(name, []).extend(values)
    assert "".join(choice["text"] for choice in choices).startswith(prompt)
    new = (tokenizer.encode("so") * 4)[:limit]
    known = [logprob_of(token) for token in (ids + new)[1:]]
    assert lists["token_logprobs"] == [None, *known]
    assert lists["top_logprobs"][0] is None
    assert [max(top.values()) for top in lists["top_logprobs"][1:]] == known
    assert lists["tokens"][: len(ids) - 3] == [tokenizer.decode([token]) for token in ids[:-3]]
    assert len(lists["text_offset"]) == len(lists["tokens"]) == len(ids) + limit
    assert lists["text_offset"][:2] == [0, len(lists["tokens"][0])]


def test_an_end_token_counts_as_the_scored_token(served: Served, model_folder: Path) -> None:
    """Harnesses drop the last entry, so it has to be there when the model's next token is its end token."""
    tokenizer = load_tokenizer(model_folder)
    ids = [*tokenizer.encode("LOOP(so)POOL SAY("), 2, *tokenizer.encode(")YAS")]
    served.engine.seen.clear()
    body = ask([ids], echo=True, logprobs=1, max_tokens=1, temperature=0)
    answer = served.post("/v1/completions", body).json()
    assert len(answer["choices"][0]["logprobs"]["tokens"]) == len(ids) + 1
    assert served.engine.seen[-1].stop_ids == ()


def test_choices_after_the_first_echo_too(served: Served) -> None:
    answer = served.post("/v1/completions", ask("SAY(x)YAS", n=2, echo=True, logprobs=0)).json()
    assert [choice["text"] for choice in answer["choices"]] == ["SAY(x)YASx"] * 2
    one, two = (choice["logprobs"] for choice in answer["choices"])
    assert one == two
    assert all(len(top) == 1 for top in one["top_logprobs"][1:])


def test_special_tokens_in_a_prompt_are_text_unless_asked(serve: Serve) -> None:
    served = serve()
    assert served.post("/v1/completions", ask("<|im_end|>")).status_code == 200
    assert 2 not in served.engine.seen[-1].ids
    assert served.post("/v1/completions", ask("<|im_end|>", parse_special=True)).status_code == 200
    assert served.engine.seen[-1].ids == (2,)


@pytest.mark.parametrize(
    ("more", "status", "param"),
    [
        ({"suffix": "x"}, 400, "suffix"),
        ({"best_of": 3}, 422, "best_of"),
        ({"prompt": ""}, 400, "prompt"),
        ({"prompt": []}, 400, "prompt"),
        ({"prompt": ["a", ""]}, 400, "prompt"),
        ({"prompt": [[]]}, 400, "prompt"),
        ({"prompt": [1, "a"]}, 422, "prompt"),
        ({"prompt": [999999]}, 400, "prompt"),
        ({"prompt": [-1]}, 422, "prompt"),
        ({"prompt": None}, 422, "prompt"),
        ({"logprobs": 21}, 422, "logprobs"),
        ({"logprobs": True}, 422, "logprobs"),
        ({"max_tokens": -1}, 422, "max_tokens"),
        ({"min_tokens": 20}, 400, "min_tokens"),
        ({"logit_bias": {"x": 1}}, 400, "logit_bias"),
        ({"logit_bias": {"9999": 1}}, 400, "logit_bias"),
    ],
)
def test_what_cannot_be_done_is_named(served: Served, more: dict[str, Any], status: int, param: str) -> None:
    answer = served.post("/v1/completions", {**ask("x"), **more})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["param"].startswith(param), error
    assert error["message"].startswith(param), error
