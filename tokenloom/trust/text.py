"""Text, Markdown and JSON: a first line that says it; the hidden label in front matter, a key, or beside.

plain text   visible first line; hidden label in FILE.aigc.json (it has no place of its own)
Markdown     visible quotation at the top; hidden label as AIGC in the YAML front matter
JSON         an object's first keys: AIGC (hidden) and notice (visible)
"""

from __future__ import annotations

import json
import re
from typing import Any

from tokenloom.trust.fields import WORDS, BadMedia, Label, content_hash, new_label

FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
FIELD = re.compile(r"^AIGC[ \t]*:[ \t]*(.*?)[ \t]*\r?$", re.MULTILINE)
NESTED = re.compile(r"^[ \t]+(\w+)[ \t]*:[ \t]*(.*?)[ \t]*\r?$")
SAYS = re.compile(r"(?=.*(?:人工智能|AI))(?=.*(?:生成|合成))", re.DOTALL)
SIDECAR = ".aigc.json"


def label_text(text: str, lang: str = "en") -> str:
    """The text under the visible label's line; a text that has one stays as it is."""
    if _first_line(text) in WORDS.values():
        return text
    line = "\r\n" if "\r\n" in text else "\n"
    return f"{WORDS[lang]}{line}{line}{text}"


def sidecar(labelled: str, producer: str | None = None, produce_id: str | None = None) -> tuple[Label, str]:
    """(label, content of the JSON file beside) of a plain text, hashed as it is written in UTF-8."""
    label = new_label(content_hash(labelled.encode()), producer, produce_id)
    return label, label.wrapped() + "\n"


def label_markdown(
    text: str, lang: str = "en", producer: str | None = None, produce_id: str | None = None
) -> str:
    """Markdown with both labels; front matter that is there is kept, a label that is there stays."""
    front = FRONT.match(text)
    if front and FIELD.search(front[1]):
        return text
    body = text[front.end() :] if front else text
    line = "\r\n" if "\r\n" in text else "\n"
    if _first_line(body).removeprefix("> ") not in WORDS.values():
        body = f"> {WORDS[lang]}{line}{line}{body}"
    label = new_label(content_hash(body.encode()), producer, produce_id)
    head = front[1] if front else ""
    return f"---{line}{head}AIGC: {label.bare()}{line}---{line}{body}"


def label_json(
    text: str, lang: str = "en", producer: str | None = None, produce_id: str | None = None
) -> str:
    """A JSON object with both labels as its first keys."""
    value = _object(text)
    if "AIGC" in value:
        return text
    value = {"notice": WORDS[lang], **value}
    label = new_label(_object_hash(value), producer, produce_id)
    return json.dumps({"AIGC": label.fields(), **value}, ensure_ascii=False, indent=2) + "\n"


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadMedia(f"this is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadMedia("only a JSON object can carry its label; put the value under a key")
    return value


def _object_hash(value: dict[str, Any]) -> str:
    rest = {k: v for k, v in value.items() if k != "AIGC"}
    return content_hash(json.dumps(rest, ensure_ascii=True, separators=(",", ":"), sort_keys=True).encode())


def text_hash(text: str, kind: str) -> str:
    """The hash of what a label stands for, in a text, Markdown or JSON file."""
    if kind == "json":
        return _object_hash(_object(text))
    if kind == "markdown" and (front := FRONT.match(text)):
        return content_hash(text[front.end() :].encode())
    return content_hash(text.encode())


def hidden_in(text: str, kind: str) -> list[tuple[str, str]]:
    """(where, label's JSON) of each hidden label inside the text."""
    if kind == "json":
        value = _object(text)
        return [("JSON key AIGC", json.dumps(value["AIGC"]))] if "AIGC" in value else []
    front = FRONT.match(text)
    if kind != "markdown" or not front:
        return []
    return [("front matter AIGC", _yaml(front[1], found)) for found in FIELD.finditer(front[1])]


def _yaml(head: str, found: re.Match[str]) -> str:
    """The JSON of an AIGC field: in flow style (which JSON is), quoted, or as indented lines."""
    value = found[1]
    if len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1].replace("''", "'")
    if len(value) > 1 and value[0] == value[-1] == '"':
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    if value:
        return value
    fields = {}
    for line in head[found.end() :].lstrip("\r\n").splitlines():
        pair = NESTED.match(line)
        if not pair:
            break
        fields[pair[1]] = pair[2].strip("\"'")
    return json.dumps(fields)


def _first_line(text: str) -> str:
    return text.lstrip("\ufeff \t\r\n").split("\n", 1)[0].strip()


def shows_words(text: str, kind: str) -> bool:
    """Whether the words are where a reader meets them: first or last line, or the notice of a JSON object."""
    if kind == "json":
        return bool(SAYS.match(str(_object(text).get("notice", ""))))
    front = FRONT.match(text)
    body = (text[front.end() :] if front and kind == "markdown" else text).strip("\ufeff \t\r\n")
    lines = body.splitlines()
    return bool(lines) and any(SAYS.match(line) is not None for line in (lines[0], lines[-1]))
