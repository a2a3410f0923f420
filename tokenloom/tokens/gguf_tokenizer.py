"""A tokenizer out of a GGUF file's metadata (keys `tokenizer.*`).

Not the reader of the file: that is weights/gguf.py. Covers byte-level BPE ("gpt2") and SentencePiece BPE
("llama", and Gemma's variety of it), whose merges are worked out from the vocabulary's scores. Others are
refused by name. Source: the GGUF specification, ggml's docs/gguf.md; SentencePiece, arXiv:1808.06226.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from tokenloom.tokens.pieces import SPACE
from tokenloom.tokens.split import WHOLE, pre_tokenizer

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_GEMMA = frozenset({"gemma", "gemma2", "gemma3"})
_ENDS_TURN = ("<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<EOT>")
"""Control tokens that end a turn in the families covered, where the file names only one."""
NAMED = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
"""A template's variable -> the file's word for it."""


def gguf_backend(meta: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """The tokenizer itself, special tokens added. ValueError names what is missing or not covered."""
    tokens = _texts(meta, "tokenizer.ggml.tokens")
    types = _types(meta, tokens)
    model = meta.get("tokenizer.ggml.model")
    if model == "gpt2":
        backend = _byte_level(meta, tokens)
    elif model == "llama":
        backend = _sentencepiece(meta, tokens, types)
    else:
        raise ValueError(f"tokenizer.ggml.model: found {model!r}; allowed: gpt2, llama")
    if backend.get_vocab_size() != len(tokens):
        raise ValueError(
            f"tokenizer.ggml.tokens: found {len(tokens)} tokens, {backend.get_vocab_size()} different ones; "
            "allowed: each token once"
        )
    # Some files call tokens of bare whitespace control; hiding those would glue words together.
    control = [t for t, kind in zip(tokens, types, strict=True) if kind == CONTROL and t.strip()]
    named = [tokens[id] for id in named_ids(meta, len(tokens)).values()]
    backend.add_special_tokens([AddedToken(t, normalized=False) for t in dict.fromkeys(control + named)])
    users = [t for t, kind in zip(tokens, types, strict=True) if kind == USER]
    if _is_gemma(meta):
        users = [_respelled(token) for token in users]
    backend.add_tokens([AddedToken(t, normalized=False) for t in users])
    begin = meta.get("tokenizer.ggml.bos_token_id")
    if adds_bos(meta) and begin is not None:  # for those who read the tokenizer.json made of this
        pair = (tokens[begin], begin)
        backend.post_processor = processors.TemplateProcessing(single=[pair[0], "$A"], special_tokens=[pair])
    return backend


def named_ids(meta: Mapping[str, Any], size: int) -> dict[str, int]:
    """bos_token, eos_token, unk_token, pad_token -> id, those the file states."""
    found = {}
    for name, word in NAMED.items():
        id = meta.get(f"tokenizer.ggml.{word}_token_id")
        if id is None:
            continue
        if type(id) is not int or not 0 <= id < size:
            raise ValueError(f"tokenizer.ggml.{word}_token_id: found {id!r}; allowed: 0 to {size - 1}")
        found[name] = id
    return found


def end_ids(meta: Mapping[str, Any]) -> tuple[int, ...]:
    """All ids that end a turn: those the file states, and control tokens known by their text."""
    tokens = _texts(meta, "tokenizer.ggml.tokens")
    types = _types(meta, tokens)
    stated = [meta.get(f"tokenizer.ggml.{word}_token_id") for word in ("eos", "eot", "eom")]
    ends = [id for id in stated if isinstance(id, int) and 0 <= id < len(tokens)]
    texts = {tokens[id] for id in ends}
    for text in _ENDS_TURN:
        if text not in texts and text in tokens:
            id = tokens.index(text)
            if types[id] in (CONTROL, USER):
                ends.append(id)
    return tuple(dict.fromkeys(ends))


def adds_bos(meta: Mapping[str, Any]) -> bool:
    """Whether a text starts with the begin token: as stated, else as these models were trained."""
    stated = meta.get("tokenizer.ggml.add_bos_token")
    if stated is not None:
        return bool(stated)
    return meta.get("tokenizer.ggml.model") == "llama" or meta.get("tokenizer.ggml.pre") in WHOLE


def templates_of(meta: Mapping[str, Any]) -> dict[str, str]:
    """Name -> chat template; "default" is the one without a name."""
    found = {}
    if isinstance(default := meta.get("tokenizer.chat_template"), str):
        found["default"] = default
    for name in meta.get("tokenizer.chat_templates") or ():
        if isinstance(source := meta.get(f"tokenizer.chat_template.{name}"), str):
            found[name] = source
    return found


def _byte_level(meta: Mapping[str, Any], tokens: list[str]) -> tokenizers.Tokenizer:
    kind = meta.get("tokenizer.ggml.pre", "default")
    cut = pre_tokenizer(kind)
    merges = _merges(meta)
    vocab = {token: id for id, token in enumerate(tokens)}
    backend = tokenizers.Tokenizer(_bpe(vocab, merges, ignore_merges=kind in WHOLE))
    backend.pre_tokenizer = cut
    backend.decoder = decoders.ByteLevel()
    return backend


def _bpe(vocab: dict[str, int], merges: list[tuple[str, str]], **options: Any) -> models.BPE:
    for left, right in merges:
        if left not in vocab or right not in vocab or left + right not in vocab:
            raise ValueError(
                f"tokenizer.ggml.merges: found {left!r} + {right!r}; allowed: pairs of the file's own tokens "
                "that make one"
            )
    return models.BPE(vocab, merges, **options)


def _merges(meta: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The file's merges; a loop on the way to the first token, so it calls nothing it need not."""
    merges = _texts(meta, "tokenizer.ggml.merges")
    try:
        return [(left, right) for left, right in [merge.split(" ") for merge in merges]]
    except ValueError as error:
        bad = next(merge for merge in merges if merge.count(" ") != 1)
        raise ValueError(
            f"tokenizer.ggml.merges: found {bad!r}; allowed: two tokens with a space between"
        ) from error


def _sentencepiece(meta: Mapping[str, Any], tokens: list[str], types: list[int]) -> tokenizers.Tokenizer:
    gemma = _is_gemma(meta)
    if gemma:
        tokens = [_respelled(token) for token in tokens]
    vocab = {token: id for id, token in enumerate(tokens)}
    if "tokenizer.ggml.merges" in meta:
        merges = _merges(meta)
    else:
        # Gemma's scores do not follow its merges; the order in the file does.
        scores = [-float(id) for id in range(len(tokens))] if gemma else _scores(meta, len(tokens))
        merges = merges_from_scores(tokens, types, scores)
    at = named_ids(meta, len(tokens)).get("unk_token")
    unknown = None if at is None else tokens[at]
    backend = tokenizers.Tokenizer(_bpe(vocab, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    prefix = bool(meta.get("tokenizer.ggml.add_space_prefix", True)) and not gemma
    steps: list[Any] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if gemma:
        backend.normalizer = normalizers.Replace(" ", SPACE)
        backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    elif meta.get("general.architecture") == "phi3":
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
        )
    else:
        scheme = "first" if prefix else "never"
        backend.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme=scheme, split=False)
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if prefix else steps)
    return backend


def merges_from_scores(
    tokens: Sequence[str], types: Sequence[int], scores: Sequence[float]
) -> list[tuple[str, str]]:
    """The merges SentencePiece would make, best first: every way to build a token out of two others.

    Control tokens, the unknown token and single bytes are never built, so that no text can spell one.
    """
    built = {t: id for id, (t, kind) in enumerate(zip(tokens, types, strict=True)) if kind in (NORMAL, USER)}
    found: list[tuple[float, int, int, str, str]] = []
    for token, id in built.items():
        score = -scores[id]
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in built and right in built:
                found.append((score, -cut, cut - len(token), left, right))
    found.sort(key=lambda pair: pair[:3])
    return [(left, right) for *_, left, right in found]


def _is_gemma(meta: Mapping[str, Any]) -> bool:
    return meta.get("general.architecture") in _GEMMA and meta.get("tokenizer.ggml.model") == "llama"


def _respelled(token: str) -> str:
    """Gemma's files hold runs of spaces as spaces; its vocabulary spells them with the mark."""
    return SPACE * len(token) if token and not token.strip(" ") else token


def _texts(meta: Mapping[str, Any], key: str) -> list[str]:
    value = meta.get(key)
    if not isinstance(value, list) or not all(type(item) is str for item in value):
        raise ValueError(f"{key}: found {type(value).__name__}; allowed: a list of texts")
    return value


def _types(meta: Mapping[str, Any], tokens: list[str]) -> list[int]:
    types = meta.get("tokenizer.ggml.token_type", [NORMAL] * len(tokens))
    if not isinstance(types, list) or len(types) != len(tokens):
        raise ValueError(
            f"tokenizer.ggml.token_type: allowed: a list of {len(tokens)} numbers, one per token"
        )
    return types


def _scores(meta: Mapping[str, Any], size: int) -> list[float]:
    scores = meta.get("tokenizer.ggml.scores")
    if not isinstance(scores, list) or len(scores) != size:
        raise ValueError(f"tokenizer.ggml.scores: allowed: a list of {size} numbers, one per token")
    return scores
