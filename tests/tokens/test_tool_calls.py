"""Tool calls out of text, prompts for models without tools, grammars that force a call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizers import CHATML, write_folder

from tokenloom.tokens.chat import encode_chat
from tokenloom.tokens.jsonscan import JsonScan
from tokenloom.tokens.stream import TextStream
from tokenloom.tokens.text import Tokenizer, load_tokenizer
from tokenloom.tokens.toolparser import CallPiece, TextPiece, ToolParser, new_id
from tokenloom.tokens.tools import ToolFormat, tool_format, tool_prompt, tool_schema

HERMES, LLAMA, MISTRAL = (ToolFormat(kind, True, {}) for kind in ("hermes", "llama", "mistral"))
FORMATS = {"hermes": HERMES, "llama": LLAMA, "mistral": MISTRAL}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a place",
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["place"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "now"}},
]


def read(kind: str, text: str, sizes: list[int] = [], **options) -> tuple[str, list[tuple[str, str]], list]:  # noqa: B006
    """The text, the calls (name, arguments) and all pieces of an answer pushed in parts."""
    parser = ToolParser(FORMATS[kind], **options)
    pieces, rest, sizes = [], text, list(sizes)
    while rest:
        size = sizes.pop() if sizes else len(rest)
        pieces += parser.push(rest[:size])
        rest = rest[size:]
    pieces += parser.finish()
    said, calls = "", {}
    for piece in pieces:
        if isinstance(piece, TextPiece):
            assert piece.text
            said += piece.text
        elif piece.broken:
            del calls[piece.index]
        elif piece.name is not None:
            assert piece.index not in calls
            assert piece.id
            calls[piece.index] = (piece.name, piece.arguments)
        else:
            assert piece.id is None
            calls[piece.index] = (calls[piece.index][0], calls[piece.index][1] + piece.arguments)
    return said, list(calls.values()), pieces


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.text(), JSON, max_size=3)
CALLS = st.lists(st.tuples(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), ARGUMENTS), min_size=1, max_size=3)


def written(kind: str, calls: list[tuple[str, str]]) -> str:
    word = "parameters" if kind == "llama" else "arguments"
    objects = [f'{{"name": "{name}", "{word}": {arguments}}}' for name, arguments in calls]
    if kind == "hermes":
        return "\n".join(f"<tool_call>\n{text}\n</tool_call>" for text in objects)
    return "; ".join(objects) if kind == "llama" else f"[TOOL_CALLS][{', '.join(objects)}]"


@pytest.mark.parametrize("kind", FORMATS)
@given(calls=CALLS, sizes=st.lists(st.integers(1, 12)), data=st.data())
@settings(max_examples=60, deadline=None)
def test_calls_come_back_whatever_the_pieces(kind: str, calls, sizes: list[int], data) -> None:
    style = data.draw(
        st.sampled_from([{}, {"ensure_ascii": False}, {"indent": 2}, {"separators": (",", ":")}])
    )
    texts = [(name, json.dumps(arguments, **style)) for name, arguments in calls]
    before = "" if kind == "llama" else data.draw(st.sampled_from(["", "Let me see.", "a < b {"]))
    said, got, pieces = read(kind, f"{before}{written(kind, texts)}", sizes)
    assert got == texts
    assert said == before
    starts = [piece for piece in pieces if isinstance(piece, CallPiece) and piece.name]
    assert [piece.index for piece in starts] == list(range(len(calls)))
    assert len({piece.id for piece in starts}) == len(calls)


TOUCHY = """<tool_call>|</tool_call>|<tool|[TOOL_CALLS]|[TOOL|[|]|{|}|"name"|:|,|;| |text|"|\\|é|1|\n
{"name": "f", "arguments": {}}|{"name": "f"|, "arguments": {"a": 1|{"name": "f", "parameters": [1]}"""
FRAGMENTS = st.lists(st.sampled_from([*TOUCHY.split("|"), "<|python_tag|>"]), max_size=14)


@pytest.mark.parametrize("kind", FORMATS)
@given(parts=FRAGMENTS, sizes=st.lists(st.integers(1, 6)))
@settings(max_examples=150, deadline=None)
def test_nothing_is_lost_and_pieces_do_not_matter(kind: str, parts: list[str], sizes: list[int]) -> None:
    """Without a call all text comes back; with one, what comes does not depend on the pieces."""
    text = "".join(parts)
    said, calls, _ = read(kind, text)
    assert read(kind, text, sizes)[:2] == (said, calls)
    if not calls and kind != "mistral":
        assert said == text
    assert len(said) <= len(text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1,}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "f", "arguments": "text"}</tool_call>'),
        ("hermes", '<tool_call>{"name": 3, "arguments": {}}</tool_call>'),
        ("hermes", '<tool_call>{"arguments": {"a": 1}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "f", "name": "g"}</tool_call>'),
        ("hermes", '<tool_call>{"name": "f", "argum'),
        ("hermes", "<tool_call>\nnot json\n</tool_call>"),
        ("hermes", "so <tool_call"),
        ("hermes", "so <tool_call>"),
        ("mistral", "[TOOL_CALLS] none today"),
        ("mistral", '[TOOL_CALLS]{"name": "f"}'),
        ("llama", '{"city": "Paris", "people": 2}'),
        ("llama", '{"name": "Ada", "age": 36}'),
        ("llama", "<|python_tag|>print(1)"),
        ("llama", 'Here: {"name": "f", "parameters": {}}'),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_what_is_no_call_comes_back_as_text(kind: str, text: str, size: int) -> None:
    assert read(kind, text, [size] * len(text))[:2] == (text, [])


def test_a_call_after_a_failed_one() -> None:
    good = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    assert read("hermes", f"<tool_call>oops {good} done")[:2] == ("<tool_call>oops done", [("f", "{}")])
    broken = '<tool_call>{"name": "g", "arguments": {"a": nope}}</tool_call>'
    said, calls, pieces = read("hermes", f"{broken}\n{good}")
    assert (said, calls) == (broken, [("f", "{}")])
    assert [piece.index for piece in pieces if isinstance(piece, CallPiece) and piece.broken] == [0]


def test_names_that_are_not_there_come_back_as_text() -> None:
    text = '{"name": "Ada", "parameters": {"age": 36}}'
    assert read("llama", text, names={"weather"})[:2] == (text, [])
    assert read("llama", text, names={"Ada"})[1] == [("Ada", '{"age": 36}')]


def test_a_call_cut_off_keeps_what_came() -> None:
    text = '<tool_call>\n{"name": "f", "arguments": {"a": "half'
    assert read("hermes", text)[:2] == ("", [("f", '{"a": "half')])
    assert read("hermes", '<tool_call>{"name": "f", "arguments": {}}</tool_c')[:2] == ("", [("f", "{}")])


def test_arguments_stream_while_they_are_written() -> None:
    parser = ToolParser(HERMES, make_id=lambda format: "ID")
    assert parser.push('Hm.\n<tool_call>\n{"name": "f", "arg') == [TextPiece("Hm.")]
    assert parser.push('uments": {"a": ') == [CallPiece(0, "ID", "f", '{"a": ')]
    assert parser.push('"x') == [CallPiece(0, arguments='"x')]
    assert parser.push('"}}\n</tool_call> ok') == [CallPiece(0, arguments='"}'), TextPiece(" ok")]
    assert parser.finish() == []
    assert parser.count == 1


def test_ids_are_what_templates_take() -> None:
    assert new_id(HERMES) != new_id(HERMES)
    assert len(new_id(MISTRAL)) == 9
    assert new_id(MISTRAL).isalnum()


@given(JSON, st.sampled_from([{}, {"indent": 1}, {"ensure_ascii": False}]))
@settings(max_examples=200, deadline=None)
def test_json_is_followed_to_its_end(value, style: dict) -> None:
    text = json.dumps([value], **style)
    scan = JsonScan()
    for at, letter in enumerate(text):
        assert not scan.done, at
        assert scan.push(letter), (text, at)
    assert scan.done


@given(st.text('{}[]",:\\u1a0 -.etrufalsn', max_size=12))
@settings(max_examples=500, deadline=None)
def test_json_that_passes_parses(text: str) -> None:
    text = f"[{text}]"
    scan = JsonScan()
    for at, letter in enumerate(text):
        if not scan.push(letter):
            with pytest.raises(ValueError):
                json.loads(text)
            return
        if scan.done:
            json.loads(text[: at + 1])
            return
    with pytest.raises(ValueError):
        json.loads(text)


NATIVE = {
    "hermes": "{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}{{ messages[-1].content }}",
    "llama": '{% if tools %}{"name", "parameters"}<|python_tag|>{% endif %}{{ messages[-1].content }}',
    "mistral": "{% for t in tools %}{{ t }}{% endfor %}[TOOL_CALLS]{{ messages[-1].content }}",
}


@pytest.mark.parametrize(
    ("kind", "native", "source"),
    [
        *((kind, True, source) for kind, source in NATIVE.items()),
        ("hermes", False, CHATML),
        ("hermes", False, "{% if tools %}<tool_call><function={% endif %}"),
        ("hermes", False, "{% for tool in tools %}<|tool|>{{ tool }}{% endfor %}"),
        ("hermes", False, "I have tools: <tool_call>{{ messages[0].content }}"),
        ("hermes", False, None),
    ],
)
def test_the_format_is_seen_in_the_template(
    bytes_backend: tokenizers.Tokenizer, tmp_path: Path, kind: str, native: bool, source: str | None
) -> None:
    config = {} if source is None else {"chat_template": source}
    found = tool_format(load_tokenizer(write_folder(tmp_path / "x", bytes_backend, **config)))
    assert (found.kind, found.native) == (kind, native)
    special = {"llama": {"<|python_tag|>"}, "mistral": {"[TOOL_CALLS]"}}
    assert found.shown == special.get(kind, {"<tool_call>", "</tool_call>"})


def test_markers_that_are_special_reach_the_parser(
    bytes_backend: tokenizers.Tokenizer, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "x", bytes_backend, chat_template=NATIVE["mistral"])
    tokenizer = load_tokenizer(folder)
    found = tool_format(tokenizer)
    ids = tokenizer.encode_control('[TOOL_CALLS][{"name": "f", "arguments": {}}]<|im_end|>')
    stream, parser = TextStream(tokenizer, special=found.shown), ToolParser(found)
    pieces = [piece for id in ids for piece in parser.push(stream.push([id]).text)]
    assert [piece.name for piece in pieces if isinstance(piece, CallPiece)][:1] == ["f"]
    assert not any(isinstance(piece, TextPiece) for piece in pieces)


CHAT = [
    {"role": "user", "content": "Weather?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "function": {"name": "weather", "arguments": '{"place":  "北京"}'}}],
    },
    {"role": "tool", "tool_call_id": "1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "calm"}]},
]


def test_models_without_tools_are_told_in_words() -> None:
    format = ToolFormat("hermes", False, {})
    turns = tool_prompt(CHAT, TOOLS, format)
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user"]
    assert json.dumps(TOOLS[0]["function"]) in turns[0]["content"]
    assert read("hermes", turns[2]["content"])[1] == [("weather", '{"place":  "北京"}')]
    assert turns[3]["content"].count("<tool_response>") == 2
    assert "sunny" in turns[3]["content"]
    assert "calm" in turns[3]["content"]
    with_system = tool_prompt([{"role": "system", "content": "Be kind."}, *CHAT], TOOLS, format)
    assert with_system[0]["content"].startswith("Be kind.\n\n")
    no_system = tool_prompt(CHAT, TOOLS, ToolFormat("hermes", False, {}, system=False))
    assert no_system[0]["role"] == "user"
    assert no_system[0]["content"].endswith("Weather?")
    assert tool_prompt(CHAT, TOOLS, HERMES) == CHAT


def test_a_chat_with_tools_reaches_a_template_without(chatml_folder: Path) -> None:
    tokenizer = load_tokenizer(chatml_folder)
    text = tokenizer.decode(encode_chat(tokenizer, CHAT, TOOLS), special=True)
    assert '"name": "weather"' in text
    assert text.startswith("<|im_start|>system\n")
    assert "<tool_response>\nsunny\n</tool_response>" in text
    plain = [{"role": "user", "content": "hi"}]
    assert "tool" not in tokenizer.decode(encode_chat(tokenizer, plain))


def matches(tokenizer: Tokenizer, grammar: str, text: str) -> bool:
    """Whether the grammar takes the whole of a text, as the engine would run it."""
    import llguidance

    engine = llguidance.LLTokenizer(tokenizer.json(), eos_token=2)
    matcher = llguidance.LLMatcher(engine, llguidance.grammar_from("grammar", grammar))
    assert not matcher.is_error(), matcher.get_error()
    return all(matcher.consume_token(id) for id in tokenizer.encode_control(text)) and matcher.is_accepting()


@pytest.mark.parametrize("kind", NATIVE)
def test_a_forced_call_is_read_back(bytes_backend: tokenizers.Tokenizer, tmp_path: Path, kind: str) -> None:
    folder = write_folder(tmp_path / "x", bytes_backend, chat_template=NATIVE[kind], eos_token="<|im_end|>")
    tokenizer = load_tokenizer(folder)
    format = tool_format(tokenizer)
    required, named = tool_schema(TOOLS, "required", format), tool_schema(TOOLS, "now", format)
    many = tool_schema(TOOLS, "required", format, parallel=True)
    assert required is not None
    assert named is not None
    assert many is not None
    assert required[0] == "grammar"
    good = [("weather", '{"place": "北京", "days": 3}'), ("now", "{}")]
    for call in good:
        text = written(kind, [call])
        assert read(kind, text)[1] == [call]
        assert matches(tokenizer, required[1], text)
        assert matches(tokenizer, many[1], text)
        assert matches(tokenizer, named[1], text) == (call[0] == "now")
    assert matches(tokenizer, many[1], written(kind, good))
    assert not matches(tokenizer, required[1], written(kind, good))
    for bad in (("weather", "{}"), ("weather", '{"place": 3}'), ("rain", "{}"), ("now", '{"a": 1}')):
        assert not matches(tokenizer, many[1], written(kind, [bad]))
    assert not matches(tokenizer, required[1], "It is sunny.")


def test_choices() -> None:
    assert tool_schema(TOOLS, "auto", HERMES) is None
    assert tool_schema(TOOLS, "none", HERMES) is None
    openai = {"type": "function", "function": {"name": "now"}}
    assert tool_schema(TOOLS, openai, HERMES) == tool_schema(TOOLS, "now", HERMES)
    with pytest.raises(
        ValueError, match="tool_choice: found 'rain'; allowed: auto, none, required, or one of: weather"
    ):
        tool_schema(TOOLS, "rain", HERMES)
    with pytest.raises(ValueError, match="tools: found none"):
        tool_schema([], "required", HERMES)
    with pytest.raises(ValueError, match=r"tools\[0\]\.function\.name: found 'a b'"):
        tool_schema([{"function": {"name": "a b"}}], "required", HERMES)
    with pytest.raises(ValueError, match=r"tools\[0\]\.function\.parameters"):
        tool_schema([{"function": {"name": "a", "parameters": 3}}], "required", HERMES)
