"""The hidden label's seven fields, and the visible label's words. Not the files that carry them.

Source: Measures for Labelling AI-Generated Synthetic Content (China, in force since 2025-09-01) and
GB 45438-2025, as the project understands them; the EU AI Act's Article 50 asks for the same in other words.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import Any

WORDS = {"en": "AI-generated · AI生成", "zh": "AI生成"}
"""What a reader sees. Both hold ("AI") and ("生成"), which the Chinese measures ask of any words used."""
KEYS = (
    "Label",
    "ContentProducer",
    "ProduceID",
    "ReservedCode1",
    "ContentPropagator",
    "PropagateID",
    "ReservedCode2",
)
NEEDED = ("ContentProducer", "ProduceID", "ContentPropagator", "PropagateID")
VALUE = re.compile(r"[!#-\[\]-~]*")
MAX_JSON = 1 << 16
HASH = "sha256:"
PRODUCER = "TOKENLOOM_PRODUCER"


class BadLabel(ValueError):
    """A hidden label is there and is not valid."""


class BadMedia(ValueError):
    """A file is not what it says, or is damaged."""


@dataclass(frozen=True)
class Label:
    """One hidden label, in the standard's field order."""

    kind: str
    """"1" generated, "2" possibly generated, "3" suspected."""
    producer: str
    produce_id: str
    reserved1: str
    """Here: the sha256 of the content the label stands for."""
    propagator: str
    propagate_id: str
    reserved2: str

    def fields(self) -> dict[str, str]:
        values = (self.kind, self.producer, self.produce_id, self.reserved1)
        return dict(zip(KEYS, (*values, self.propagator, self.propagate_id, self.reserved2), strict=True))

    def bare(self) -> str:
        """The seven fields as compact JSON."""
        return json.dumps(self.fields(), separators=(",", ":"))

    def wrapped(self) -> str:
        """The same under the name AIGC, for carriers that have no field of that name."""
        return json.dumps({"AIGC": self.fields()}, separators=(",", ":"))


def default_producer() -> str:
    """TOKENLOOM_PRODUCER, which an operator sets to its own code; else the project's name."""
    return os.environ.get(PRODUCER) or "Tokenloom"


def check_producer() -> None:
    """BadLabel where TOKENLOOM_PRODUCER cannot stand in a label; for the start, before work is lost."""
    found = default_producer()
    if not VALUE.fullmatch(found):
        raise BadLabel(
            f"the environment variable {PRODUCER} is {found!r}; allowed is a code of printable ASCII without "
            f"space, quote and backslash, such as {PRODUCER}=Example-Press-001"
        )


def content_hash(*parts: bytes) -> str:
    """sha256:HEX over the parts, each preceded by its length."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return HASH + digest.hexdigest()


def new_label(hashed: str, producer: str | None = None, produce_id: str | None = None) -> Label:
    """A first label for content with this hash: propagator = producer. BadLabel names a value at fault."""
    maker = default_producer() if producer is None else producer
    work = hashed.removeprefix(HASH)[:32] if produce_id is None else produce_id
    if producer is None:
        check_producer()
    label = Label("1", maker, work, hashed, maker, work, "")
    check_fields(label.fields())
    return label


def check_fields(fields: dict[str, Any]) -> None:
    """BadLabel says which of the seven fields is missing, unknown or has a value that is not allowed."""
    if missing := [k for k in KEYS if k not in fields]:
        raise BadLabel(f"the label lacks {', '.join(missing)}")
    if extra := sorted(set(fields) - set(KEYS)):
        raise BadLabel(f"the label has unknown fields: {', '.join(map(repr, extra))}")
    for key in KEYS:
        value = fields[key]
        if not isinstance(value, str) or not VALUE.fullmatch(value):
            raise BadLabel(
                f"{key} is {value!r}; allowed is printable ASCII without space, quote and backslash"
            )
        if key in NEEDED and not value:
            raise BadLabel(f"{key} is empty")
    if fields["Label"] not in ("1", "2", "3"):
        raise BadLabel(
            f"Label is {fields['Label']!r}; allowed are '1' generated, '2' possibly, '3' suspected"
        )


def parse_label(text: str) -> Label:
    """A label from JSON, bare or under AIGC, in any order; BadLabel says what is wrong."""
    if len(text) > MAX_JSON:
        raise BadLabel(f"the label has {len(text)} characters, at most {MAX_JSON} are read")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadLabel(f"the label is not JSON ({error})") from error
    return label_from(value)


def label_from(value: object) -> Label:
    """A label from parsed JSON, bare or under AIGC."""
    if isinstance(value, dict) and set(value) == {"AIGC"}:
        value = value["AIGC"]
    if not isinstance(value, dict):
        raise BadLabel("the label is not an object of the seven fields")
    check_fields(value)
    return Label(*(value[k] for k in KEYS))
