"""Constraints: whatever is drawn from the masks matches, and what cannot match is refused in words."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tokenloom.engine.check import BadRequest
from tokenloom.engine.constraint import MAX_TEXT, Constrainer, Matcher
from tokenloom.engine.request import Constraint

END, PADDED = 0, 512
CHOICES = ["red", "red wine", "grün\n", '"q"']

SCHEMAS = {
    "flat": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "tall": {"type": "boolean"},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    "nested": {
        "type": "object",
        "properties": {
            "tags": {"type": "array", "items": {"enum": ["red", "green", 3, None]}, "maxItems": 3},
            "at": {"$ref": "#/$defs/point"},
        },
        "required": ["at", "tags"],
        "additionalProperties": False,
        "$defs": {
            "point": {
                "type": "object",
                "properties": {"x": {"type": "number"}, "y": {"type": ["integer", "null"]}},
                "required": ["x", "y"],
                "additionalProperties": False,
            }
        },
    },
    "any of": {
        "anyOf": [
            {"type": "string", "pattern": "^[a-z]{2,5}-[0-9]{3}$"},
            {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 4},
        ]
    },
    "formats": {
        "type": "object",
        "properties": {"day": {"type": "string", "format": "date"}, "kind": {"const": "event"}},
        "required": ["day", "kind"],
        "additionalProperties": False,
    },
    "anything": True,
    "tree": {
        "type": "object",
        "properties": {
            "leaf": {"type": "integer", "multipleOf": 5},
            "next": {"$ref": "#"},
        },
        "required": ["leaf"],
        "additionalProperties": False,
    },
}


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    text = (
        '{"name": "Ada", "age": 36, "tags": ["red", "green"], "day": "2024-05-17", "true": false, "null": 3}'
    )
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|end|>", "<|start|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([text] * 3, trainer)
    return tokenizer


@pytest.fixture(scope="module")
def constrainer(bpe: Tokenizer) -> Constrainer:
    return Constrainer(bpe.to_str(), (END,), PADDED)


def walk(
    matcher: Matcher, rng: np.random.Generator, end: int | None, vocab: int, most: int = 400
) -> list[int]:
    """Draws ids from the masks; from the shorter half of the way on, ends where it may."""
    ids: list[int] = []
    while len(ids) < most and not matcher.done:
        mask = matcher.mask(vocab)
        assert mask.shape == (vocab,)
        assert mask.dtype == np.bool_
        allowed = np.flatnonzero(mask)
        assert allowed.size
        if end is not None and mask[end] and (len(ids) > 60 or allowed.size == 1 or rng.random() < 0.3):
            return ids
        id = int(rng.choice(allowed[allowed != end]))
        matcher.accept(id)
        ids.append(id)
    return ids


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_every_walk_validates_under_jsonschema(
    bpe: Tokenizer, constrainer: Constrainer, schema: dict | bool
) -> None:
    finished = 0
    for seed in range(40):
        matcher = constrainer.compile(Constraint("json_schema", json.dumps(schema)))
        ids = walk(matcher, np.random.default_rng(seed), END, PADDED)
        if matcher.may_end:
            finished += 1
            checker = jsonschema.FormatChecker()
            jsonschema.validate(json.loads(bpe.decode(ids)), schema, format_checker=checker)
    assert finished >= 10


def test_json_mode_gives_objects(bpe: Tokenizer, constrainer: Constrainer) -> None:
    finished = 0
    for seed in range(60):
        matcher = constrainer.compile(Constraint("json"))
        ids = walk(matcher, np.random.default_rng(seed), END, PADDED, most=300)
        if matcher.may_end:
            finished += 1
            assert isinstance(json.loads(bpe.decode(ids)), dict)
    assert finished >= 5


def test_regex_choice_and_grammar(bpe: Tokenizer, constrainer: Constrainer) -> None:
    cases = [
        (Constraint("regex", r"[a-c]{2,4}(-\d+)?"), re.compile(r"[a-c]{2,4}(-\d+)?").fullmatch),
        (Constraint("choice", json.dumps(CHOICES)), set(CHOICES).__contains__),
        (
            Constraint("grammar", 'start: "<" word ("," word)* ">"\nword: /[xy]+/'),
            re.compile(r"<[xy]+(,[xy]+)*>").fullmatch,
        ),
    ]
    for constraint, law in cases:
        seen = set()
        for seed in range(40):
            matcher = constrainer.compile(constraint)
            text = bpe.decode(walk(matcher, np.random.default_rng(seed), END, PADDED))
            if matcher.may_end:
                assert law(text), text
                seen.add(text)
        assert len(seen) >= 3


def test_a_longer_choice_may_follow_a_shorter_one(bpe: Tokenizer, constrainer: Constrainer) -> None:
    matcher = constrainer.compile(Constraint("choice", '["ab", "a"]'))
    a, b = (bpe.encode(c).ids[0] for c in "ab")
    matcher.accept(a)
    assert matcher.may_end
    assert not matcher.done
    assert set(np.flatnonzero(matcher.mask(PADDED))) == {END, b}
    matcher.accept(b)
    assert matcher.done


def test_special_and_padded_ids_are_never_text(bpe: Tokenizer, constrainer: Constrainer) -> None:
    matcher = constrainer.compile(Constraint("regex", r"(?s).{0,50}"))
    mask = matcher.mask(PADDED)
    assert mask[END]  # the empty text matches
    assert not mask[bpe.token_to_id("<|start|>")]
    assert not mask[bpe.get_vocab_size() :].any()
    assert mask.sum() > 100


def test_matchers_are_independent(bpe: Tokenizer, constrainer: Constrainer) -> None:
    constraint = Constraint("json_schema", json.dumps(SCHEMAS["nested"]))
    alone = [
        walk(constrainer.compile(constraint), np.random.default_rng(seed), END, PADDED) for seed in range(6)
    ]
    matchers = [constrainer.compile(constraint) for _ in alone]
    for at in range(max(map(len, alone))):
        for ids, matcher in zip(alone, matchers, strict=True):
            if at < len(ids):
                assert matcher.mask(PADDED)[ids[at]]
                matcher.accept(ids[at])
    one = constrainer.compile(constraint)
    twin = one.copy()
    with pytest.raises(ValueError, match="satisfy"):
        one.accept(bpe.encode("x").ids[0])
    assert twin.mask(PADDED).any()
    assert not one.done
    with pytest.raises(ValueError, match="satisfy"):
        one.mask(PADDED)


def test_forced_ids_are_what_must_come(bpe: Tokenizer, constrainer: Constrainer) -> None:
    matcher = constrainer.compile(Constraint("choice", '["the only one"]'))
    forced = matcher.forced()
    assert "the only one".startswith(bpe.decode(forced))
    assert len(forced) >= 1
    for id in forced:
        assert matcher.mask(PADDED)[id]
        matcher.accept(id)


def test_a_forced_run_is_followed_and_left(bpe: Tokenizer, constrainer: Constrainer) -> None:
    long = constrainer.compile(Constraint("regex", "a{9000}b"))
    start = time.process_time()
    for _ in range(2000):
        [id] = long.forced(1)
        long.accept(id)
    assert time.process_time() - start < 5, "each step looks through the whole run again"
    assert len(long.forced(7)) == 7
    matcher = constrainer.compile(Constraint("regex", "(true|tame|to be)[0-9]"))
    for text in ("t", "r"):
        matcher.accept(bpe.encode(text).ids[0])
    assert bpe.decode(matcher.forced()) == "ue"
    matcher.accept(bpe.encode("u").ids[0])
    assert bpe.decode(matcher.forced()) == "e"
    matcher.accept(bpe.encode("e").ids[0])
    assert matcher.forced() == []
    matcher.accept(bpe.encode("7").ids[0])
    assert matcher.done


def test_blanks_in_json_are_bounded(bpe: Tokenizer, constrainer: Constrainer) -> None:
    matcher = constrainer.compile(Constraint("json"))
    blank = bpe.encode(" ").ids[0]
    matcher.accept(bpe.encode("{").ids[0])
    for _ in range(40):
        assert matcher.mask(PADDED)[blank]
        matcher.accept(blank)
    assert not matcher.mask(PADDED)[blank]


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("json_schema", '{"type": "strin"}', "Invalid type: strin"),
        ("json_schema", "{not json", "property name"),
        ("json_schema", "[]", "needs an object"),
        ("json_schema", "false", "needs an object"),
        ("json_schema", '{"type": "integer", "minimum": 5, "maximum": 3}', r"minimum \(5\) is greater"),
        ("json_schema", '{"enum": []}', "anyOf is empty"),
        ("json_schema", '{"allOf": [{"type": "string"}, {"type": "integer"}]}', "incompatible types"),
        ("json_schema", '{"type": "array", "uniqueItems": true}', "uniqueItems"),
        ("json_schema", '{"$ref": "http://example.com/schema"}', "example.com"),
        ("json_schema", '{"type": "string", "pattern": "(?=a)b"}', "look-ahead"),
        ("json_schema", '{"anyOf": [' * 5000 + "{}" + "]}" * 5000, "recursion"),
        ("regex", "[a-z", "unclosed character class"),
        ("regex", r"[^\x00-\x{10FFFF}]", "No text|no text|nothing|NoExtension"),
        ("regex", "a" * (MAX_TEXT + 1), str(MAX_TEXT)),
        ("choice", "[]", "at least one text"),
        ("choice", '["a", 3]', "at least one text"),
        ("choice", "red", "Expecting value"),
        ("grammar", "start: x", 'unknown name: "x"'),
        ("grammar", 'start: start "a" | start', "nothing can match|NoExtension"),
        ("grammar", "", "Empty grammar"),
        ("xml", "", "one of json_schema, json, regex, choice, grammar"),
    ],
)
def test_what_cannot_be_matched_is_refused_in_words(
    constrainer: Constrainer, kind: str, text: str, words: str
) -> None:
    with pytest.raises(BadRequest, match=words) as caught:
        constrainer.compile(Constraint(kind, text))  # type: ignore[arg-type]
    assert str(caught.value).startswith("constraint.")
    assert len(str(caught.value)) < 2000


HOSTILE = {
    "ambiguous": Constraint("grammar", 'start: x x x x x x\nx: y y y y y y\ny: x x | "a" | ""'),
    "doubling": Constraint("grammar", 'start: x\nx: x x | "a" | ""'),
    "counted": Constraint("regex", "(.{1,1000}a){1,1000}"),
    "powers": Constraint("regex", "(a|b)*a(a|b){200}"),
    "wide": Constraint(
        "json_schema",
        json.dumps({"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(2000)}}),
    ),
}


@pytest.mark.parametrize("constraint", HOSTILE.values(), ids=HOSTILE)
def test_hostile_constraints_cost_bounded_time(
    bpe: Tokenizer, constrainer: Constrainer, constraint: Constraint
) -> None:
    """Each either goes on at a bounded price a step or ends as a ValueError that says why."""
    a = bpe.encode("a").ids[0]
    rng, worst, words = np.random.default_rng(0), 0.0, ""
    try:
        matcher = constrainer.compile(constraint)
        for _ in range(150):
            start = time.process_time()
            mask = matcher.mask(PADDED)
            worst = max(worst, time.process_time() - start)
            matcher.accept(a if mask[a] else int(rng.choice(np.flatnonzero(mask))))
    except ValueError as error:
        words = str(error)
    assert re.search("too many|items|limit|complex|^$", words), words
    # llguidance's counted limits hold a step to tens of milliseconds; without them these take seconds.
    assert worst < 1.0


def test_a_model_without_end_ids_ends_when_nothing_may_follow(bpe: Tokenizer) -> None:
    vocab = bpe.get_vocab_size()
    matcher = Constrainer(bpe.to_str(), (), vocab).compile(Constraint("regex", "a{2,3}"))
    a = bpe.encode("a").ids[0]
    for _ in range(2):
        assert np.flatnonzero(matcher.mask(vocab)).tolist() == [a]
        matcher.accept(a)
    assert matcher.may_end
    assert matcher.mask(vocab).sum() == 1
    matcher.accept(a)
    assert matcher.done


def test_a_tokenizer_that_cannot_be_read_is_said() -> None:
    with pytest.raises(ValueError, match="tokenizer cannot be used"):
        Constrainer("{}", (0,), 10)


def test_compiled_constraints_are_remembered(constrainer: Constrainer) -> None:
    text = json.dumps(
        {"type": "object", "properties": {f"p{i}": {"pattern": f"^[a-z]{{1,{i + 1}}}$"} for i in range(500)}}
    )
    times = []
    for _ in range(2):
        start = time.process_time()
        constrainer.compile(Constraint("json_schema", text))
        times.append(time.process_time() - start)
    assert times[1] < times[0] / 4


@pytest.mark.model
@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_walks_with_the_embedded_models_tokenizer(smollm2: Path, schema: dict | bool) -> None:
    from tokenloom.tokens.text import load_tokenizer

    tokenizer = load_tokenizer(smollm2)
    constrainer = Constrainer(tokenizer.json(), tokenizer.eos_ids, tokenizer.vocab_size)
    finished = 0
    for seed in range(15):
        matcher = constrainer.compile(Constraint("json_schema", json.dumps(schema)))
        ids = walk(matcher, np.random.default_rng(seed), tokenizer.eos_ids[0], tokenizer.vocab_size)
        if matcher.may_end:
            finished += 1
            jsonschema.validate(json.loads(tokenizer.decode(ids)), schema)
    assert finished >= 3
