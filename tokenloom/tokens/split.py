"""How text is cut before byte-level BPE, by the name a GGUF file gives it in `tokenizer.ggml.pre`.

A Hub folder carries its rules in tokenizer.json and does not pass here. The expressions are those the models'
own tokenizer.json files state; llama.cpp gives them the names. An unknown name is refused: a wrong cut yields
other ids than the model was trained on, without a sign of it.
"""

from __future__ import annotations

from tokenizers import Regex, pre_tokenizers

_CONTRACTED = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_ENDS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_MARKS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTED}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_MARKS}|{_ENDS}"
_QWEN2 = rf"{_CONTRACTED}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_MARKS}|{_ENDS}"
_MARKED = r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
_QWEN35 = rf"{_CONTRACTED}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}|{_MARKED}|{_ENDS}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORD = r"[^\r\n\p{L}\p{N}]?"
_SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_TEKKEN = rf"{_WORD}{_UPPER}*{_LOWER}+|{_WORD}{_UPPER}+{_LOWER}*|\p{{N}}|{_SLASHED}|{_ENDS}"
_GPT4O = (
    rf"{_WORD}{_UPPER}*{_LOWER}+{_CONTRACTED}?|{_WORD}{_UPPER}+{_LOWER}*{_CONTRACTED}?"
    rf"|\p{{N}}{{1,3}}|{_SLASHED}|{_ENDS}"
)
_EAST_ASIAN = "[一-龥ࠀ-一가-\ud7ff]+"
# Cased letters, as DeepSeek's file lists them: the mathematical alphabets are not among them.
_CASED = r"\s?[[\p{Lu}\p{Ll}\p{Lt}]&&[^\x{1D400}-\x{1D7FF}]]+"
_DEEPSEEK_LLM = (
    r"[\r\n]",
    _CASED,
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    r"\s+$",
    _EAST_ASIAN,
    r"\p{N}+",
)
_DEEPSEEK_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _EAST_ASIAN, r"\p{N}")
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_ENDS}",
)
_DIGITS = (r"\p{N}", _GPT2)
_FALCON = (r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, r"[0-9][0-9][0-9]")
_DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")

_NAMES: dict[tuple[str, ...], tuple[str, ...]] = {
    _DEFAULT: ("default",),
    (_GPT2,): ("gpt-2", "gpt2", "phi-2", "mpt", "olmo", "jais"),
    _DIGITS: ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
    (_LLAMA3,): (
        "llama3",
        "llama-v3",
        "llama-bpe",
        "falcon3",
        "falcon-h1",
        "pixtral",
        "lfm2",
        "dbrx",
        "smaug-bpe",
    ),
    (_QWEN2,): ("qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2"),
    (_QWEN35,): ("qwen35",),
    (_TEKKEN,): ("tekken",),
    (_GPT4O,): ("gpt-4o", "llama4", "kanana2", "minimax-m2"),
    _DEEPSEEK_LLM: ("deepseek-llm",),
    _DEEPSEEK_CODER: ("deepseek-coder",),
    _DEEPSEEK3: ("deepseek-v3",),
    _FALCON: ("falcon",),
}
KINDS: dict[str, tuple[str, ...]] = {name: rules for rules, names in _NAMES.items() for name in names}
"""Name -> the expressions that cut, one after the other, each what the one before left whole."""

WHOLE = frozenset(_NAMES[(_LLAMA3,)] + _NAMES[(_TEKKEN,)]) - {"dbrx", "smaug-bpe"}
"""Llama 3 and Mistral's Tekken: a piece that is in the vocabulary is taken as it is, without merges, and a
text starts with the begin token."""


def pre_tokenizer(kind: str) -> pre_tokenizers.PreTokenizer:
    """The cut of this name, ending in GPT-2's byte letters; ValueError for an unknown name."""
    if kind not in KINDS:
        raise ValueError(f"tokenizer.ggml.pre: found {kind!r}; allowed: {', '.join(sorted(KINDS))}")
    cuts = [pre_tokenizers.Split(Regex(rule), "isolated") for rule in KINDS[kind]]
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([*cuts, letters])
