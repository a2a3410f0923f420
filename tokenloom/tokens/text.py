"""Text <-> ids, for a Hub folder or a GGUF file.

Not a trainer of tokenizers. Encoding is done by the `tokenizers` library; decoding joins the bytes each token
stands for (pieces.py), so that a stream of ids and the whole of them read the same. Special tokens written in
a text stay text; only `encode_control` takes them for what they are.
"""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from tokenloom.tokens.pieces import Spelling, spelling_of
from tokenloom.tokens.template import ChatTemplate
from tokenloom.weights.tokenizer_files import tokenizer_hash


class Tokenizer:
    """Text <-> ids of one model. Threads may share it."""

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        named: Mapping[str, int] | None = None,
        ends: Iterable[int] = (),
        add_bos: bool = False,
        templates: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """named: bos_token, eos_token, pad_token, unk_token, ... -> id; ends: more ids that end a turn;
        templates: chat templates by name; variables: strings they may refer to beside the named tokens."""
        named = dict(named or {})
        self._made_of: dict[str, Any] = {"named": named, "ends": tuple(ends), "add_bos": add_bos}
        self._made_of |= {"templates": templates, "variables": variables}
        self._backend = backend
        self._lock = threading.Lock()
        self._bytes: dict[int, bytes] = {}
        added = backend.get_added_tokens_decoder()
        self.spelling: Spelling = spelling_of(backend)
        self.vocab_size: int = max(backend.get_vocab_size(), max(added, default=-1) + 1)
        """One more than the highest id."""
        self.named: dict[str, int] = named
        """bos_token, eos_token, ... -> id."""
        self.bos_id: int | None = named.get("bos_token")
        self.pad_id: int | None = named.get("pad_token")
        self.unk_id: int | None = named.get("unk_token")
        first = [named["eos_token"]] if "eos_token" in named else []
        self.eos_ids: tuple[int, ...] = tuple(dict.fromkeys([*first, *self._made_of["ends"]]))
        """All ids that end a turn, the tokenizer's own end token first."""
        self.add_bos = add_bos and self.bos_id is not None
        """Texts this model was trained on start with bos_id."""
        self.special: dict[str, int] = {token.content: id for id, token in added.items() if token.special}
        """Control tokens by their text; decoding leaves them out unless asked."""
        self.added: dict[str, int] = {token.content: id for id, token in added.items()}
        """Tokens that stand beside the learnt ones: the special ones and others, such as markers."""
        self._eats_left = frozenset(token.content for token in added.values() if token.lstrip)
        self._eats_right = frozenset(token.content for token in added.values() if token.rstrip)
        self._special_ids = frozenset(self.special.values())
        self.template: ChatTemplate | None = None
        if templates:
            words = {name: str(backend.id_to_token(id)) for name, id in named.items()}
            self.template = ChatTemplate(dict(templates), {**words, **(variables or {})})
        self.markers: dict[str, int] = self._find_markers(added)
        """Added tokens that are not special but that the template writes, such as <think> or <tool_call>."""
        self._guarded = frozenset(self._special_ids | set(self.markers.values())) - {self.unk_id}

    def _find_markers(self, added: Mapping[int, AddedToken]) -> dict[str, int]:
        written = "\0".join(self.template.templates.values()) if self.template else ""
        return {
            token.content: id
            for id, token in added.items()
            if not token.special and token.content.strip() and token.content in written
        }

    @functools.cached_property
    def control(self) -> re.Pattern[str]:
        """Finds any text that is a control token: special, or written by the template. Longest first."""
        return re.compile(either([*self.special, *self.markers]))

    @functools.cached_property
    def control_special(self) -> re.Pattern[str]:
        """As `control`, of the special tokens alone."""
        return re.compile(either(self.special))

    def encode(self, text: str, bos: bool = False) -> list[int]:
        """The ids of a text; special tokens written in it stay text.

        bos: start with the begin token if the model was trained with one. Raises ValueError for text that is
        not Unicode (lone surrogates), or that spells a control token however it is cut.
        """
        _check(text)
        markers = bool(self.markers) and any(marker in text for marker in self.markers)
        ids = self._run(self._guard if markers else self._backend, text, plain=True)
        if not self._guarded.isdisjoint(ids):
            found = next(self._backend.id_to_token(id) for id in ids if id in self._guarded)
            raise ValueError(f"text: found {found!r}, which this vocabulary has no other spelling for")
        return [self.bos_id, *ids] if bos and self.add_bos and self.bos_id is not None else ids

    def encode_control(self, text: str) -> list[int]:
        """The ids of a text whose special tokens are control, such as a rendered template."""
        _check(text)
        return self._run(self._backend, text, plain=False)

    def _run(self, backend: tokenizers.Tokenizer, text: str, plain: bool) -> list[int]:
        with self._lock:  # the flag belongs to the backend, not to the call
            if backend.encode_special_tokens != plain:
                backend.encode_special_tokens = plain
            return list(backend.encode(text, add_special_tokens=False).ids)

    @functools.cached_property
    def control_ids(self) -> dict[str, int]:
        """Control tokens, special or written by the template, by their text."""
        return {**self.special, **self.markers}

    def encode_between(self, text: str, after: str | None, before: str | None) -> list[int]:
        """As `encode`, for a text between two control tokens (None: at the start or the end)."""
        if after in self._eats_right:
            text = text.lstrip()
        if before in self._eats_left:
            text = text.rstrip()
        if not text:
            return []
        if after is None or not self._spaced_first:
            return self.encode(text)
        # The space that SentencePiece puts before a text belongs to the start of the whole alone.
        line = self.encode("\n")
        ids = self.encode("\n" + text)
        return ids[len(line) :] if ids[: len(line)] == line else self.encode(text)

    @functools.cached_property
    def _spaced_first(self) -> bool:
        """Whether a text's first word is encoded otherwise than the same word after a control token."""
        mark = next((text for text in self.special if text.strip()), None)
        return mark is not None and self.encode_control(mark + "a")[-1:] != self.encode("a")[-1:]

    @functools.cached_property
    def _guard(self) -> tokenizers.Tokenizer:
        """A twin that counts markers as special, for texts that hold one: so they, too, stay text."""
        form = json.loads(self.json())
        for token in form["added_tokens"]:
            token["special"] = token["special"] or token["content"] in self.markers
        return tokenizers.Tokenizer.from_str(json.dumps(form))

    def decode(self, ids: Sequence[int], special: bool = False) -> str:
        """The text of ids; special tokens are left out unless asked. Invalid bytes become U+FFFD.

        Ids the tokenizer has no token for (the padding of a vocabulary) say nothing.
        """
        text = b"".join(self.kept(id, special) for id in ids).decode("utf-8", "replace")
        return text[1:] if self.spelling.strip and text.startswith(" ") else text

    def kept(self, id: int, special: bool) -> bytes:
        """The bytes an id adds to a text: none for a special one that is not asked for."""
        return b"" if not special and id in self._special_ids else self.token_bytes(id)

    def token_bytes(self, id: int) -> bytes:
        """The bytes a token stands for, maybe not whole characters; none for an id without a token."""
        found = self._bytes.get(id)
        if found is None:
            if id < 0:
                raise ValueError(f"ids: found {id}; allowed: 0 to {self.vocab_size - 1}")
            token = self._backend.id_to_token(id)
            found = self._bytes[id] = b"" if token is None else self.spelling.of(token)
        return found

    def token_text(self, id: int) -> str:
        """A token as text to look at; U+FFFD where it holds half a character."""
        return self.token_bytes(id).decode("utf-8", "replace")

    def is_special(self, id: int) -> bool:
        return id in self._special_ids

    def id_of(self, token: str) -> int | None:
        """The id of a token by its spelling in the vocabulary."""
        found = self._backend.token_to_id(token)
        return None if found is None else int(found)

    def with_special(self, tokens: Sequence[str]) -> Tokenizer:
        """A tokenizer with these special tokens behind its own, their ids in order from vocab_size on."""
        backend = tokenizers.Tokenizer.from_str(self.json())
        for token in tokens:
            if backend.token_to_id(token) is not None:
                raise ValueError(f"tokens: found {token!r}, which is there already; allowed: new ones")
        backend.add_special_tokens([AddedToken(token, normalized=False) for token in tokens])
        ids = [backend.token_to_id(token) for token in tokens]
        if ids != list(range(self.vocab_size, self.vocab_size + len(tokens))):
            raise ValueError("tokens: found one twice, or ids with gaps; allowed: different ones")
        return Tokenizer(backend, **self._made_of)

    def with_template(self, source: str, end: str) -> Tokenizer:
        """A tokenizer with this chat template, whose turns end with the control token `end`."""
        id = self.id_of(end)
        if id is None:
            raise ValueError(f"end: found {end!r}, which has no id; `with_special` gives it one")
        made = dict(self._made_of)
        made["named"] = {**made["named"], "eos_token": id}
        made["ends"] = tuple(dict.fromkeys([id, *self.eos_ids]))
        made["templates"] = {"default": source}
        return Tokenizer(tokenizers.Tokenizer.from_str(self.json()), **made)

    def json(self) -> str:
        """The tokenizer in the `tokenizers` library's own format (tokenizer.json)."""
        return str(self._backend.to_str())

    @functools.cached_property
    def hash(self) -> str:
        """sha256 of `json()`, hexadecimal: what tokenloom.json and the manifests of shards hold."""
        return tokenizer_hash(self._backend)


def either(texts: Iterable[str]) -> str:
    """A regular expression for any of the texts, the longest that fits; quick however many there are."""
    root: dict[str, Any] = {}
    for text in texts:
        node = root
        for letter in text:
            node = node.setdefault(letter, {})
        node[""] = {}

    def form(node: dict[str, Any]) -> str:
        branches = [re.escape(letter) + form(node[letter]) for letter in sorted(node) if letter]
        if not branches:
            return ""
        body = "|".join(branches)
        ends = "" in node
        return f"(?:{body}){'?' if ends else ''}" if ends or len(branches) > 1 else body

    return form(root) or r"(?!)"


def _check(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text: found U+{ord(text[error.start]):04X} at {error.start}, half a surrogate pair; "
            "allowed: Unicode characters"
        ) from error


def load_tokenizer(path: Path | str) -> Tokenizer:
    """The tokenizer of a Hub folder or a GGUF file; ValueError names what is missing or not covered."""
    path = Path(path)
    if path.is_dir():
        from tokenloom.tokens.folder import read_folder

        return Tokenizer(**read_folder(path))
    from tokenloom.weights.gguf import open_gguf

    with open_gguf(path) as file:
        return tokenizer_from_meta(file.meta)


def tokenizer_from_meta(meta: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that a GGUF file's metadata describes."""
    from tokenloom.tokens import gguf_tokenizer as gguf

    backend = gguf.gguf_backend(meta)
    return Tokenizer(
        backend,
        named=gguf.named_ids(meta, len(meta["tokenizer.ggml.tokens"])),
        ends=gguf.end_ids(meta),
        add_bos=gguf.adds_bos(meta),
        templates=gguf.templates_of(meta),
    )
