"""The model card: README.md of a model folder with the Hub's front matter and the scores.

Not the report of the run (report.py). What the card says already stays; facts are added, and the part between
the two score marks is written anew each time. Source: the Hub's model cards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenloom.config import put_text

START, END = "<!-- scores -->", "<!-- /scores -->"
_MARKED = re.compile(rf"\n*{START}.*?{END}\n*", re.DOTALL)
CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a card may be told; what is empty leaves the card as it is."""

    licence: str = ""
    """By the Hub's short name, such as apache-2.0."""
    languages: Sequence[str] = ()
    datasets: Sequence[str] = ()


def write_card(folder: Path, name: str, facts: Facts, scores: Sequence[Mapping[str, Any]]) -> str:
    """Brings the card of a model folder up to date and returns it.

    scores: rows with set, metric, value and maybe low, high. ValueError where there is no model or the card's
    head is not YAML. The card is written beside and renamed.
    """
    if not folder.is_dir():
        raise ValueError(f"model: {folder} is no folder; the training writes it when it ends")
    file = folder / CARD
    old = file.read_text("utf-8") if file.is_file() else f"# {name}\n"
    text = render_card(old, name, facts, scores)
    put_text(file, text)
    return text


def render_card(old: str, name: str, facts: Facts, scores: Sequence[Mapping[str, Any]]) -> str:
    """`old` with these facts and scores."""
    import yaml  # type: ignore[import-untyped]

    head, body = split_head(old)
    try:
        found = yaml.safe_load(head) if head else {}
    except yaml.YAMLError as error:
        raise ValueError(f"{CARD}: its head is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{CARD}: its head is a {type(found).__name__}; needs names and values")
    if facts.licence:
        found["license"] = facts.licence
    for key, values in (("language", facts.languages), ("datasets", facts.datasets)):
        if values:
            found[key] = list(values)
    if scores:
        found["metrics"] = list(dict.fromkeys(str(row["metric"]) for row in scores))
        found["model-index"] = _index(name, scores)
    found.setdefault("tags", ["tokenloom"])
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=1000)
    body = _MARKED.sub("\n", body).strip("\n")
    return f"---\n{text}---\n\n{body}\n{_scores(scores)}"


def split_head(card: str) -> tuple[str, str]:
    """The YAML between the first two lines of three dashes, and the rest."""
    text = card.removeprefix("\ufeff").replace("\r\n", "\n")
    if not text.startswith("---\n"):
        return "", text
    head, found, body = text[4:].partition("\n---\n")
    return (head, body) if found else ("", text)


def _index(name: str, scores: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The scores as the Hub's model-index."""
    sets: dict[str, list[dict[str, Any]]] = {}
    for row in scores:
        if row["value"] is not None:
            metric = {"type": str(row["metric"]), "value": round(float(row["value"]), 6)}
            sets.setdefault(str(row["set"]), []).append(metric)
    task = {"type": "text-generation"}
    results = [
        {"task": task, "dataset": {"name": where, "type": slug(where)}, "metrics": metrics}
        for where, metrics in sets.items()
    ]
    return [{"name": name, "results": results}]


def slug(text: str) -> str:
    """A name as the Hub's identifiers are written."""
    return re.sub(r"[^\w.-]+", "-", text.lower()).strip("-") or "unnamed"


def _scores(scores: Sequence[Mapping[str, Any]]) -> str:
    if not scores:
        return ""
    rows = "".join(
        f"| {cell(row['set'])} | {cell(row['metric'])} | {number(row['value'])} | {reach(row)} |\n"
        for row in scores
    )
    table = f"| measured on | score | value | 95 % interval |\n|---|---|---:|---|\n{rows}"
    return f"\n{START}\n## Scores\n\n{table}{END}\n"


def plain(text: str) -> str:
    """A text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", text)


def cell(value: Any) -> str:
    """A value inside a Markdown table."""
    return plain(str(value)).replace("\n", " ")


def number(value: Any) -> str:
    return "" if value is None else f"{float(value):,.4g}"


def reach(row: Mapping[str, Any]) -> str:
    """A score's interval."""
    low, high = row.get("low"), row.get("high")
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"
