"""A tokenizer as the metadata of a GGUF file (keys `tokenizer.*`): the inverse of gguf_tokenizer.py.

Not the writer of the file: that is model/export.py. Covers byte-level BPE whose cut into words has a name in
llama.cpp; it is found by what it does to a text full of corners, as llama.cpp's own converter does, since the
same cut is spelled in many ways. Others are refused. Source: the GGUF specification, ggml's docs/gguf.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import tokenizers

from tokenloom.tokens.gguf_tokenizer import CONTROL, NAMED, NORMAL, UNUSED, USER
from tokenloom.tokens.split import KINDS, WHOLE, pre_tokenizer
from tokenloom.tokens.text import Tokenizer

PROBE = (
    "It wasn't ours; WE'LL see, they'Ve gone. I'm 'Sure' don'T\n\n  \n\t\t x  \r\n\r\n   end   \n"
    "1 12 123 1234 12345678 3.14159 1,000,000 x2 3d ２０２４ ½ Ⅷ ٣٤ ๓\n"
    "snake_case camelCase HTTPServer ABCdef Ab1c $100 50% a+b=c <|x|> `code` ~^ https://a.b/c?d=e&f#g\n"
    "//// ==== ---- .... !!!! ??? (((a))) [b] {c} \"q\" 'r' «s» “t” …—–\n"
    "你好，世界！今天 天气。ひらがな カタカナー 한국어 ไทย हिन्दी عربى иван Ünïcödé e\u0301 ﬁ Ǆ ǅ ʰ\n"
    "\u3000全角\u00a0nbsp\u2028line\u200b\ufeff 👨‍👩‍👧‍👦 🏳️‍🌈 👍🏽 𝐀𝒷 𓀀 \x01\x7f \u0085x / a/b/c\n/\n/x"
)
ENDS = ("eos", "eot", "eom")
"""The words the format has for ids that end a turn."""


def tokenizer_meta(tokenizer: Tokenizer, size: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The keys of a tokenizer for a model of `size` ids, and notes on what they do not carry.

    Ids without a token get an unused one. ValueError names what GGUF or llama.cpp has no word for.
    """
    state = json.loads(tokenizer.json())
    notes = _check(state)
    model = state["model"]
    if tokenizer.vocab_size > size:
        raise ValueError(f"tokenizer: found {tokenizer.vocab_size} ids; the model has only {size}")
    tokens = [f"[PAD{id}]" for id in range(size)]
    types = [UNUSED] * size
    for token, id in model["vocab"].items():
        tokens[id], types[id] = token, NORMAL
    for added in state["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = CONTROL if added["special"] else USER
    for id in tokenizer.named.values():
        types[id] = CONTROL
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    keys: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": cut_name(tokenizers.Tokenizer.from_str(tokenizer.json()), model),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in pairs],
        "tokenizer.ggml.add_bos_token": tokenizer.add_bos,
        "tokenizer.ggml.add_space_prefix": False,
    }
    for name, word in NAMED.items():
        if name in tokenizer.named and word != "eos":
            keys[f"tokenizer.ggml.{word}_token_id"] = tokenizer.named[name]
    ends = tokenizer.eos_ids
    if len(ends) > len(ENDS):
        notes.append(f"only the first {len(ENDS)} of {len(ends)} ids that end a turn have a word in GGUF.")
    keys |= {f"tokenizer.ggml.{word}_token_id": id for word, id in zip(ENDS, ends, strict=False)}
    return keys | _templates(tokenizer), tuple(notes)


def cut_name(backend: tokenizers.Tokenizer, model: Mapping[str, Any]) -> str:
    """llama.cpp's name for the way a byte-level tokenizer cuts text; ValueError where it has none."""
    whole = bool(model.get("ignore_merges"))
    ours = backend.pre_tokenizer
    found = None if ours is None else ours.pre_tokenize_str(PROBE)
    known: dict[tuple[str, ...], bool] = {}
    for name, rules in KINDS.items():
        if rules not in known:
            known[rules] = pre_tokenizer(name).pre_tokenize_str(PROBE) == found
        if known[rules] and (name in WHOLE) == whole:
            return name
    raise ValueError(
        "pre_tokenizer: found a way to cut text that llama.cpp has no name for; allowed: those of "
        f"{', '.join(dict.fromkeys(next(n for n, r in KINDS.items() if r == rules) for rules in known))}"
    )


def _check(state: Mapping[str, Any]) -> list[str]:
    """Notes on what is lost; ValueError for what must not be."""
    model = state["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        kind = "SentencePiece BPE" if model["type"] == "BPE" else model["type"]
        raise ValueError(f"tokenizer: found {kind}; allowed: byte-level BPE, as GPT-2, Llama 3 and Qwen have")
    for option in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(option):
            raise ValueError(f"tokenizer: model.{option}: found {model[option]!r}; allowed: none")
    if not model["merges"]:
        raise ValueError("tokenizer: found no merges; llama.cpp needs one at least")
    notes = []
    normalizer = state["normalizer"]
    if normalizer is not None:
        if normalizer["type"] != "NFC":
            raise ValueError(f"tokenizer: normalizer: found {normalizer['type']}; allowed: none, or NFC")
        notes.append("text is not brought to Unicode's form NFC first: GGUF has no word for it.")
    greedy = [t["content"] for t in state["added_tokens"] if t["lstrip"] or t["rstrip"] or t["single_word"]]
    if greedy:
        notes.append(f"{greedy[0]!r} no longer takes the space beside it: GGUF has no word for it.")
    return notes


def _templates(tokenizer: Tokenizer) -> dict[str, Any]:
    if tokenizer.template is None:
        return {}
    templates = dict(tokenizer.template.templates)
    keys: dict[str, Any] = {}
    if "default" in templates:
        keys["tokenizer.chat_template"] = templates.pop("default")
    if templates:
        keys["tokenizer.chat_templates"] = sorted(templates)
    return keys | {f"tokenizer.chat_template.{name}": text for name, text in templates.items()}
