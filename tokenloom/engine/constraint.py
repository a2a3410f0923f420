"""What the text must match (JSON schema, JSON, regex, choice, grammar), as masks over the vocabulary.

Not the sampler, and not the end of an answer: where the text may end, the mask also allows the end ids, and
the engine stops on them. Grammars are compiled and followed by llguidance (a derivative-based lexer over an
Earley parser, https://github.com/guidance-ai/llguidance). Its limits bound hostile ones: the work to build a
lexer, the work of one step, the size of a grammar, and how ambiguous it may be.

JSON's whitespace is bounded (`WHITESPACE` characters between two tokens), so that a small model cannot write
blanks for ever; a schema's own "x-guidance" may say otherwise.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenloom.engine.check import BadRequest
from tokenloom.engine.request import Constraint

if TYPE_CHECKING:
    import llguidance

MAX_TEXT = 128 * 1024
"""Characters a constraint may have; compiling the worst of that length takes about a second."""
MAX_ITEMS = 1000
"""Ways to go on that a grammar may keep open at once (4 per optional property of an object): 30 ms a step."""
WHITESPACE = 40
KEPT = 64
"""Compiled constraints that are remembered."""


class Constrainer:
    """Compiles constraints for one tokenizer. Building one reads the whole vocabulary."""

    def __init__(self, tokenizer_json: str, eos_ids: Sequence[int], vocab_size: int) -> None:
        """tokenizer_json: the tokenizers library's. vocab_size: of the model; may be padded beyond the
        tokenizer's. ValueError if llguidance cannot read the tokenizer."""
        import llguidance

        self._lib = llguidance
        self.vocab_size = vocab_size
        described = json.loads(tokenizer_json)
        known = _size(described)
        ends = [i for i in eos_ids if 0 <= i < min(known, vocab_size)]
        if not ends:
            # A model without an end id: one past the vocabulary stands in, so the mask never shows it.
            ends = [max(known, vocab_size)]
            tokenizer_json = _with_special(described, ends[0])
        size = max(known, vocab_size, ends[0] + 1)
        try:
            self._tokenizer = llguidance.LLTokenizer(tokenizer_json, n_vocab=size, eos_token=ends)
        except ValueError as error:
            raise ValueError(f"the tokenizer cannot be used with constraints: {error}") from error
        self._limits = llguidance.LLParserLimits(max_items_in_row=MAX_ITEMS, verbose_errors=False)
        self._compiled: OrderedDict[Constraint, Any] = OrderedDict()

    def compile(self, constraint: Constraint) -> Matcher:
        """A matcher at the start. BadRequest, in llguidance's words, for what is invalid or cannot match."""
        start = self._compiled.get(constraint)
        if start is None:
            start = self._start(constraint)
            self._compiled[constraint] = start
            if len(self._compiled) > KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(constraint)
        return Matcher(start.deep_copy())

    def _start(self, constraint: Constraint) -> llguidance.LLMatcher:
        kind, text = constraint.kind, constraint.text
        if kind not in NOUNS:
            raise BadRequest(f"constraint.kind is {kind!r}; it must be one of {', '.join(NOUNS)}")
        if len(text) > MAX_TEXT:
            raise BadRequest(f"constraint.text ({kind}) has {len(text)} characters; at most {MAX_TEXT}")
        try:
            grammar = self._grammar(kind, text)
            start = self._lib.LLMatcher(self._tokenizer, grammar, log_level=0, limits=self._limits)
            _check(start)
            bits = _allowed(start)
        except (ValueError, RecursionError) as error:
            raise BadRequest(
                f"constraint.text is not a {NOUNS[kind]} that can be matched: {error}"
            ) from error
        if not bits[: self.vocab_size].any() and not start.is_accepting():
            raise BadRequest(f"constraint.text is a {NOUNS[kind]} that no text of this vocabulary matches")
        return start

    def _grammar(self, kind: str, text: str) -> str:
        make: dict[str, Callable[[], str]] = {
            "json_schema": lambda: self._schema(text),
            "json": lambda: self._schema('{"type": "object"}'),
            "regex": lambda: self._lib.LLMatcher.grammar_from_regex(text),
            "choice": lambda: self._lib.LLMatcher.grammar_from_lark(_choices(text)),
            "grammar": lambda: self._lib.LLMatcher.grammar_from_lark(text),
        }
        return make[kind]()

    def _schema(self, text: str) -> str:
        blank: Any = {"whitespace_pattern": rf"[\x20\x0A\x0D\x09]{{1,{WHITESPACE}}}"}
        schema = json.loads(text)  # its words name the place in the text itself
        if not isinstance(schema, dict):
            if schema is not True:
                raise ValueError(f"needs an object, or true for any value; found {text[:80]}")
            text = "{}"
        return self._lib.LLMatcher.grammar_from_json_schema(text, defaults=blank)


class Matcher:
    """A compiled constraint at its place in one output. Copies share nothing that changes an answer."""

    def __init__(self, state: Any) -> None:
        self._state = state
        self.done: bool = state.is_stopped()
        """The text is complete and nothing may follow."""
        self._run: list[int] = []
        """A forced run being followed, and how far; it may be long, and looking for it costs as much."""
        self._at = 0

    @property
    def may_end(self) -> bool:
        """The text is complete as it is."""
        return self._state.is_accepting()

    def mask(self, vocab: int) -> np.ndarray:
        """(vocab,) bool: ids that may come next, with the end ids where the text may end. ValueError if the
        constraint cannot be followed further (it became too complex)."""
        bits = _allowed(self._state)
        if bits.size >= vocab:
            return bits[:vocab]
        return np.concatenate((bits, np.zeros(vocab - bits.size, dtype=bool)))

    def accept(self, id: int) -> None:
        """Takes a chosen id. ValueError if it does not fit; the matcher is of no use afterwards."""
        self._state.consume_token(id)
        _check(self._state)
        self.done = self._state.is_stopped()
        if self._at < len(self._run) and self._run[self._at] == id:
            self._at += 1
        else:
            self._run, self._at = [], 0

    def forced(self, most: int = 64) -> list[int]:
        """The ids, so many at most, of the text that must come next, as the tokenizer writes it. Nothing is
        taken."""
        if self._at == len(self._run):
            self._run, self._at = list(self._state.compute_ff_tokens()), 0
        return self._run[self._at : self._at + most]

    def copy(self) -> Matcher:
        return Matcher(self._state.deep_copy())


NOUNS = {
    "json_schema": "JSON schema",
    "json": "JSON object",
    "regex": "regular expression",
    "choice": "list of choices",
    "grammar": "grammar",
}


def _allowed(state: Any) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(state.compute_bitmask(), dtype=np.uint8), bitorder="little")
    _check(state)  # what a failed matcher answers is no mask
    return bits.view(np.bool_)


def _check(state: Any) -> None:
    if state.is_error():
        words = state.get_error().partition("<state>")[0].partition("<non-verbose/>")[0].strip()
        raise ValueError(words or "nothing can match it")


def _choices(text: str) -> str:
    """A JSON list of texts as a grammar."""
    choices = json.loads(text)
    if not (isinstance(choices, list) and choices and all(isinstance(one, str) for one in choices)):
        raise ValueError(f"needs a JSON list of at least one text, found {text[:80]}")
    return "start: " + " | ".join(json.dumps(one, ensure_ascii=False) for one in choices)


def _size(described: dict[str, Any]) -> int:
    """Ids the tokenizer has, from its JSON."""
    vocab = described.get("model", {}).get("vocab", {})
    ids = list(vocab.values()) if isinstance(vocab, dict) else [len(vocab) - 1]
    return 1 + max([*ids, *(token["id"] for token in described.get("added_tokens", []))], default=-1)


def _with_special(described: dict[str, Any], id: int) -> str:
    names = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    token = {"id": id, "content": "<|never|>", "special": True, **names}
    return json.dumps({**described, "added_tokens": [*described.get("added_tokens", []), token]})
