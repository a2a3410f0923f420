"""Declarations: the shipped ones parse, a wrong one names its fault, values are checked, prompts built."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenloom.tasks
from tokenloom.tasks import (
    BadDeclaration,
    FieldError,
    build,
    fields_json,
    finish,
    parse_task,
    tasks,
    values_of,
)

FOLDER = Path(tokenloom.tasks.__file__).parent
WRITE = (FOLDER / "write.toml").read_text(encoding="utf-8")
CHAT = (FOLDER / "chat.toml").read_text(encoding="utf-8")
PICK = """
name = "pick"
kind = "complete"
title = {en = "A", zh = "B"}
summary = {en = "a", zh = "b"}
prompt = {en = "{{ tone }} {{ loud }} {{ paper }}", zh = "{{ tone }} {{ loud }} {{ paper }}"}
[[fields]]
name = "tone"
type = "choice"
default = "warm"
choices = [
  {value = "warm", label = {en = "Warm", zh = "温暖"}},
  {value = "cool", label = {en = "Cool", zh = "冷静"}},
]
label = {en = "Tone", zh = "语气"}
help = {en = "The tone.", zh = "语气。"}
[[fields]]
name = "loud"
type = "flag"
default = false
label = {en = "Loud", zh = "大声"}
help = {en = "Loud.", zh = "大声。"}
[[fields]]
name = "paper"
type = "file"
max = 20
label = {en = "Paper", zh = "文件"}
help = {en = "A file.", zh = "文件。"}
"""


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda p: p.name)
def test_every_shipped_task(path: Path) -> None:
    task = parse_task(path.read_text(encoding="utf-8"), path.name)
    assert tasks()[path.stem] == task
    for words in (task.summary, *(f.label for f in task.fields), *(f.help for f in task.fields)):
        if task.name == "poem":  # names of forms stand there as they are typed
            assert re.search("[a-z]", words["en"])
        else:
            assert not re.search("[一-鿿]", words["en"])
        assert re.search("[一-鿿]", words["zh"])
    for sentence in (task.summary, *(f.help for f in task.fields)):
        assert sentence["en"].endswith(".")
        assert sentence["zh"].endswith("。")
    assert "label" in task.after, "what leaves is labelled"
    if task.kind not in ("complete", "chat"):
        assert task.prompt == {}, "its fields are the request"
        return
    needed = {f.name: "月" for f in task.fields if f.required}
    for lang in ("en", "zh"):
        assert build(task, needed, lang).sampling["max_tokens"] >= 1


@pytest.mark.parametrize(
    ("source", "old", "new", "complaint"),
    [
        (WRITE, "kind =", "kid =", "w: unknown key 'kid'"),
        (WRITE, 'kind = "complete"', 'kind = "talk"', "kind is 'talk'"),
        (WRITE, 'name = "write"', 'name = "write it"', "name is 'write it'"),
        (WRITE, "required = true", "requird = true", r"field 1 \(prompt\): unknown key 'requird'"),
        (WRITE, "required = true", 'required = "yes"', "required is 'yes'; allowed is bool"),
        (WRITE, "whole = true", "whole = 1", r"field 2 \(max_tokens\): whole is 1"),
        (WRITE, 'type = "text"', 'type = "words"', "type is 'words'; allowed are text, number"),
        (WRITE, 'label.zh = "文本"', "", "label needs words under exactly en and zh"),
        (WRITE, 'help.en = "The text to continue."', 'help.en = " "', "help needs words"),
        (WRITE, "default = 256", "default = 0", r"default is wrong: max_tokens is 0; .* 1 to 131072"),
        (
            WRITE,
            "temperature = 0.8\ntop_p",
            "temprature = 0.8\ntop_p",
            r"sampling has unknown \['temprature'\]",
        ),
        (WRITE, '["trim", "label"]', '["trim", "lable"]', r"after has unknown \['lable'\]"),
        (WRITE, '["trim", "label"]', '"trim"', "after is 'trim'; allowed is a list"),
        (WRITE, 'en = "{{ prompt }}"', 'en = "{{ promt }}"', "the prompt uses 'promt'"),
        (WRITE, 'en = "{{ prompt }}"', 'en = "{{ prompt "', "is wrong"),
        (WRITE, 'zh = "{{ prompt }}"', "", "prompt: 'zh' is missing"),
        (WRITE, 'name = "seed"', 'name = "n"', "field 'n' is declared twice"),
        (WRITE, 'name = "seed"', 'name = "sed"', "field 'sed' has no effect"),
        (CHAT, 'role = "system"', 'role = "robot"', "role is 'robot'"),
        (CHAT, 'content = "{{ system }}"', "content = 3", "content of a turn is 3"),
        (PICK, 'type = "choice"', 'type = "text"', "choices belong to a field of type choice"),
        (PICK, 'default = "warm"', 'default = "hot"', "tone is 'hot'; allowed is one of warm, cool"),
        (PICK, "default = false", "default = 0", "loud is 0; allowed is true or false"),
        (PICK, "max = 20", 'max = "20"', "max is '20'; allowed is int or float"),
        (WRITE, "[sampling]", "[sampling", "w: "),
    ],
)
def test_a_wrong_declaration_names_its_fault(source: str, old: str, new: str, complaint: str) -> None:
    parse_task(source, "w")
    assert old in source
    with pytest.raises(BadDeclaration, match=complaint):
        parse_task(source.replace(old, new), "w")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({}, "prompt is missing: The text to continue"),
        ({"prompt": "  "}, "prompt is empty"),
        ({"prompt": 3}, "prompt is 3; allowed is a text"),
        ({"prompt": "x" * 1_000_001}, "has 1000001 characters; at most 1000000"),
        ({"prompt": "x", "temperature": 2.5}, "temperature is 2.5; allowed is a number, 0 to 2"),
        ({"prompt": "x", "temperature": float("nan")}, "temperature is nan"),
        ({"prompt": "x", "temperature": True}, "temperature is True"),
        ({"prompt": "x", "max_tokens": 1.5}, "max_tokens is 1.5; allowed is a whole number"),
        ({"prompt": "x", "tempo": 1}, "fields: write has no field 'tempo'; its fields are prompt,"),
    ],
)
def test_wrong_values_are_named(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(FieldError, match=complaint):
        build(tasks()["write"], values)


def test_other_types() -> None:
    task = parse_task(PICK)
    assert values_of(task, {}) == {"tone": "warm", "loud": False, "paper": None}
    assert build(task, {"tone": "cool", "loud": True, "paper": "p"}).text == "cool True p"
    assert build(task, {}).text == "warm False "
    with pytest.raises(FieldError, match="paper has 21 characters"):
        build(task, {"paper": "x" * 21})
    with pytest.raises(FieldError, match="lang is 'fr'"):
        build(task, {}, "fr")


def test_a_requested_zero_is_a_zero() -> None:
    asked = build(tasks()["write"], {"prompt": "x", "temperature": 0, "seed": 0})
    assert asked.sampling == {"max_tokens": 256, "temperature": 0, "top_p": 0.95, "n": 1, "seed": 0}
    assert "seed" not in build(tasks()["write"], {"prompt": "x"}).sampling


def test_chat_leaves_an_empty_system_message_out() -> None:
    task = tasks()["chat"]
    assert build(task, {"message": "hi"}).messages == ({"role": "user", "content": "hi"},)
    both = build(task, {"message": "hi", "system": "be kind"}, "zh")
    assert [m["role"] for m in both.messages] == ["system", "user"]


@given(st.text(min_size=1, max_size=50).filter(str.strip) | st.sampled_from(["{{ 7*7 }}", "{% raw %}", "{#"]))
def test_what_a_user_typed_is_never_a_template(text: str) -> None:
    assert build(tasks()["write"], {"prompt": text}).text == text
    assert build(tasks()["chat"], {"message": text}).messages[-1]["content"] == text


def test_templates_run_in_the_sandbox() -> None:
    from jinja2.exceptions import SecurityError

    reach = "{{ prompt.__class__.__mro__ }}"
    task = parse_task(WRITE.replace('en = "{{ prompt }}"', f'en = "{reach}"'))
    with pytest.raises(SecurityError):
        build(task, {"prompt": "x"})


def test_what_the_api_tells() -> None:
    told = json.loads(json.dumps(fields_json(tasks()["write"])))
    assert list(told) == ["name", "kind", "continues", "model", "title", "summary", "fields"]
    prompt, length = told["fields"][:2]
    assert prompt["required"] is True
    assert prompt["default"] is None
    assert set(prompt["label"]) == set(prompt["help"]) == {"en", "zh"}
    assert (length["type"], length["min"], length["max"], length["default"]) == ("number", 1, 131072, 256)
    choices = fields_json(parse_task(PICK))["fields"][0]["choices"]
    assert choices[0] == {"value": "warm", "label": {"en": "Warm", "zh": "温暖"}}


def test_steps_after() -> None:
    task = tasks()["write"]
    assert finish(task, " and then \n") == " and then"
    assert finish(task, "x ", "zh", publish=True) == "AI生成\n\nx"
