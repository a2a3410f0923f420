"""Conversations in every shape they are published in; and why a row gives none."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tokenloom.data.conversations import ROLES, Conversation, Dropped, check, read_conversations
from tokenloom.data.record import DataError, Limits, TooManyBad
from tokenloom.data.shapes import Misshapen

USER = {"role": "user", "content": "Hello"}
ASSISTANT = {"role": "assistant", "content": "Hi."}
SYSTEM = {"role": "system", "content": "Be kind."}
TOOL = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
PARTS = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
ANSWER = {"role": "tool", "content": "noon", "tool_call_id": "c1"}


class Listener:
    def __init__(self) -> None:
        self.dropped: list[Dropped] = []
        self.notes: list[str] = []

    def read(self, *paths: Path, **options: Any) -> list[Conversation]:
        given = [str(path) for path in paths]
        found = read_conversations(
            given, on_dropped=self.dropped.append, on_note=self.notes.append, **options
        )
        return list(found)


@pytest.fixture
def heard() -> Listener:
    return Listener()


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


SHAPES: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
    ("openai", {"messages": [SYSTEM, USER, ASSISTANT]}, [SYSTEM, USER, ASSISTANT]),
    ("openai", {"messages": [{"role": "user", "content": PARTS}, {**ASSISTANT, "weight": 0}]},
     [USER, {**ASSISTANT, "weight": 0}]),
    ("openai", {"messages": [USER, CALLING, ANSWER, ASSISTANT]}, [USER, CALLING, ANSWER, ASSISTANT]),
    ("sharegpt", {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi."}]},
     [USER, ASSISTANT]),
    ("sharegpt", {"system": "Be kind.", "conversations": [{"from": "system", "value": "Be kind."},
                  {"from": "user", "value": "Hello"}, {"from": "assistant", "value": "Hi."}]},
     [SYSTEM, USER, ASSISTANT]),
    ("sharegpt", {"conversations": [USER, ASSISTANT]}, [USER, ASSISTANT]),
    ("sharegpt", {"conversations": [{"from": "human", "value": "Hello"},
                  {"from": "function_call", "value": '{"name": "now", "arguments": {}}'},
                  {"from": "observation", "value": "noon"}, {"from": "gpt", "value": "Hi."}]},
     [USER, {"role": "assistant", "content": None,
             "tool_calls": [{"type": "function", "function": {"name": "now", "arguments": "{}"}}]},
      {"role": "tool", "content": "noon"}, ASSISTANT]),
    ("alpaca", {"instruction": "Hello", "input": "", "output": "Hi."}, [USER, ASSISTANT]),
    ("alpaca", {"instruction": "Add", "input": "1, 2", "output": "3"},
     [{"role": "user", "content": "Add\n\n1, 2"}, {"role": "assistant", "content": "3"}]),
    ("alpaca", {"instruction": "Hello", "input": None, "output": "Hi.", "system": "Be kind.",
                "history": [["a", "b"]]},
     [SYSTEM, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, USER, ASSISTANT]),
    ("completion", {"prompt": "Hello", "completion": "Hi."}, [USER, ASSISTANT]),
    ("completion", {"prompt": [SYSTEM, USER], "completion": [ASSISTANT]}, [SYSTEM, USER, ASSISTANT]),
    ("completion", {"prompt": "[1, 2]", "completion": '["a"]'},
     [{"role": "user", "content": "[1, 2]"}, {"role": "assistant", "content": '["a"]'}]),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "row", "messages"), SHAPES)
def test_a_shape_is_told_and_read(
    tmp_path: Path, heard: Listener, shape: str, row: dict[str, Any], messages: list[dict[str, Any]]
) -> None:
    path = write(tmp_path / "a.jsonl", [{**row, "id": 7}])
    (found,) = heard.read(path)
    assert found == Conversation(messages, None, f"{path}:1", {"id": 7}, shape)
    assert heard.notes[0].startswith(f"{path} is read as {shape}: ")
    assert heard.dropped == []


@pytest.mark.parametrize("given_tools", [[TOOL], json.dumps([TOOL])])
def test_tools_come_along(tmp_path: Path, heard: Listener, given_tools: Any) -> None:
    (found,) = heard.read(
        write(tmp_path / "a.jsonl", [{"messages": [USER, ASSISTANT], "tools": given_tools}])
    )
    assert found.tools == [TOOL]
    old = {"messages": [USER, ASSISTANT], "functions": [TOOL["function"]]}
    (found,) = heard.read(write(tmp_path / "a.jsonl", [old]))
    assert found.tools == [TOOL]


def test_every_format_holds_the_same(tmp_path: Path, heard: Listener) -> None:
    rows = [
        {"messages": [USER, ASSISTANT]},
        {"messages": [USER, {**ASSISTANT, "tool_calls": [CALL]}, ANSWER, ASSISTANT]},
    ]
    write(tmp_path / "a.jsonl", rows)
    (tmp_path / "b.json").write_text(json.dumps(rows))
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), out)
    (tmp_path / "c.parquet").write_bytes(out.getvalue())
    columns = {
        "role": ["user", "assistant"],
        "content": ["Hello", "Hi."],
    }  # lists of fields, as some sets have it
    parquet.write_table(pa.Table.from_pylist([{"messages": columns}] * 2), tmp_path / "d.parquet")
    cells = "".join('"' + json.dumps(row["messages"]).replace('"', '""') + '"\n' for row in rows)
    (tmp_path / "e.csv").write_text("messages\n" + cells)
    found = heard.read(tmp_path)
    wanted = [row["messages"] for row in rows]
    assert [c.messages for c in found] == wanted * 3 + [wanted[0]] * 2 + wanted
    assert heard.dropped == []


def test_a_folder_s_other_files_are_passed_over(tmp_path: Path, heard: Listener) -> None:
    write(tmp_path / "a.jsonl", [{"messages": [USER, ASSISTANT]}])
    (tmp_path / "README.md").write_text("# Chats")
    assert len(heard.read(tmp_path)) == 1
    assert f"{tmp_path}/README.md is passed over: it holds no conversations" in heard.notes
    with pytest.raises(DataError, match=r"README\.md holds no conversations"):
        heard.read(tmp_path / "README.md", tmp_path / "a.jsonl")


BAD: list[tuple[str, Any]] = [
    ("no messages", {"messages": []}),
    ("not a list of messages", {"messages": "x"}),
    ("not a list of messages", {"messages": ["x"]}),
    ("not a list of messages", {"messages": None}),
    ("no assistant turn", {"messages": [USER]}),
    ("no assistant turn", {"messages": [SYSTEM, USER]}),
    ("empty content", {"messages": [USER, {"role": "assistant", "content": " \n"}]}),
    ("empty content", {"messages": [{"role": "user", "content": ""}, ASSISTANT]}),
    ("empty content", {"messages": [USER, {"role": "assistant", "content": None}]}),
    ("empty content", {"messages": [USER, {"role": "assistant"}]}),
    ("roles out of order", {"messages": [ASSISTANT, USER]}),
    ("roles out of order", {"messages": [USER, USER, ASSISTANT]}),
    ("roles out of order", {"messages": [USER, ASSISTANT, ASSISTANT]}),
    ("roles out of order", {"messages": [USER, SYSTEM, ASSISTANT]}),
    ("roles out of order", {"messages": [USER, ANSWER, ASSISTANT]}),
    ("unknown role", {"messages": [{"role": "bot", "content": "x"}, ASSISTANT]}),
    ("unknown role", {"messages": [{"content": "x"}, ASSISTANT]}),
    ("content is not text", {"messages": [{"role": "user", "content": 5}, ASSISTANT]}),
    ("content is not text", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ASSISTANT]}),
    ("content that cannot be stored", {"messages": [USER, {"role": "assistant", "content": "a\0b"}]}),
    ("content that cannot be stored", {"messages": [USER, {"role": "assistant", "content": "\ud800"}]}),
    ("tools are not a list of objects", {"messages": [USER, ASSISTANT], "tools": ["now"]}),
    ("not of the file's shape", {"prompt": "a", "completion": "b"}),
    ("not of the file's shape", [1]),
    ("unreadable", None),
]


def test_each_row_without_a_conversation_has_its_reason_and_place(tmp_path: Path, heard: Listener) -> None:
    lines = [json.dumps({"messages": [USER, ASSISTANT]})]
    lines += [json.dumps(row) if row is not None else "{bad" for _, row in BAD]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    found = heard.read(tmp_path)
    assert [c.source for c in found] == [f"{tmp_path}/a.jsonl:1"]
    assert [(d.reason, d.place) for d in heard.dropped] == [
        (reason, f"{tmp_path}/a.jsonl:{line}") for line, (reason, _) in enumerate(BAD, 2)
    ]
    assert str(heard.dropped[10]) == (
        f"{tmp_path}/a.jsonl:12: roles out of order (messages[0]: assistant comes first; allowed: system, "
        "developer, user)"
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"conversations": [{"from": "martian", "value": "x"}]}, "unknown role"),
        ({"conversations": [{"from": "human", "value": "x"}]}, "no assistant turn"),
        ({"conversations": [{"from": "gpt", "value": "x"}]}, "roles out of order"),
        ({"conversations": [{"from": "system", "value": "a"}], "system": "b"}, "roles out of order"),
        ({"instruction": "x", "output": ""}, "empty content"),
        ({"instruction": "", "output": "x"}, "empty content"),
        ({"instruction": ["x"], "output": "x"}, "content is not text"),
        ({"instruction": "x", "output": "x", "history": ["a"]}, "not a list of messages"),
        ({"prompt": "", "completion": "x"}, "empty content"),
        ({"prompt": "x", "completion": 5}, "content is not text"),
    ],
)
def test_reasons_in_the_other_shapes(
    tmp_path: Path, heard: Listener, row: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError, match=r"no conversation was read from .*: 1 rows were dropped"):
        heard.read(write(tmp_path / "a.jsonl", [row]))
    assert [d.reason for d in heard.dropped] == [reason]


def test_the_shape_is_told_file_by_file_or_given(tmp_path: Path, heard: Listener) -> None:
    a = write(tmp_path / "a.jsonl", [{"x": 1}, {"prompt": "p", "completion": "c"}])
    b = write(tmp_path / "b.jsonl", [{"messages": [USER, ASSISTANT]}])
    assert [c.shape for c in heard.read(tmp_path)] == ["completion", "openai"]
    assert heard.notes == [
        f"{a} is read as completion: completion, prompt",
        f"{b} is read as openai: messages",
    ]
    assert [d.place for d in heard.dropped] == [f"{a}:1"]
    assert [c.source for c in heard.read(tmp_path, shape="openai")] == [f"{b}:1"]
    with pytest.raises(
        DataError, match="shape: found 'chatml'; allowed: openai, sharegpt, alpaca, completion"
    ):
        heard.read(tmp_path, shape="chatml")


def test_what_holds_no_conversations_is_an_error(tmp_path: Path, heard: Listener) -> None:
    write(tmp_path / "a.jsonl", [{"text": "x", "id": 1}] * 30)
    with pytest.raises(
        DataError, match="the first 20 rows are of no shape that is known; they have: text, id"
    ):
        heard.read(tmp_path)
    (tmp_path / "a.jsonl").unlink()
    (tmp_path / "b.txt").write_text("x")
    with pytest.raises(DataError, match=r"b\.txt holds no conversations"):
        heard.read(tmp_path)
    (tmp_path / "b.txt").unlink()
    (tmp_path / "c.jsonl").write_text("{bad\n" * 30)
    with pytest.raises(TooManyBad, match="20 of the first 20"):
        heard.read(tmp_path)
    with pytest.raises(DataError, match="no conversation was read"):
        heard.read(tmp_path, limits=Limits(bad_count=100))


roles = st.sampled_from([*ROLES, "bot"])
any_messages = st.lists(
    st.fixed_dictionaries({"role": roles, "content": st.sampled_from(["", "x", None])}), max_size=6
)


@given(any_messages)
def test_what_passes_is_a_conversation(messages: list[dict[str, Any]]) -> None:
    try:
        check(messages)
    except Misshapen:
        return
    said = [m["role"] for m in messages if m["role"] not in ("system", "developer")]
    assert said == (["user", "assistant"] * 3)[: len(said)]
    assert len(messages) - len(said) <= 1
    assert "assistant" in said
    assert all(m["content"] for m in messages)


turns = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=6
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(turns)
def test_openai_and_sharegpt_say_the_same(tmp_path: Path, contents: list[str]) -> None:
    heard = Listener()
    contents = [text if text.strip() else "x" for text in contents]
    said = [("user", "assistant")[n % 2] for n in range(len(contents))]
    openai = [{"role": role, "content": text} for role, text in zip(said, contents, strict=True)]
    names = {"user": "human", "assistant": "gpt"}
    sharegpt = [{"from": names[m["role"]], "value": m["content"]} for m in openai]
    write(tmp_path / "a.jsonl", [{"messages": openai}])
    write(tmp_path / "b.jsonl", [{"conversations": sharegpt}])
    assert [c.messages for c in heard.read(tmp_path)] == [openai, openai]
