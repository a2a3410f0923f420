"""A tokenizer learned from texts: byte-level BPE, or one id for each frequent character.

Not the reader of texts (data/read.py) and not an extension of a model's tokenizer (vocabulary.py). The merges
are counted by the `tokenizers` library. Ids: the bytes and what is merged of them, then the control tokens,
then the marks and codes of other media, if room is kept for them. The same texts give the same ids.
Source: Sennrich et al. 2016, arXiv:1508.07909 (BPE); Radford et al. 2019 (over bytes).
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from tokenloom import config
from tokenloom.config import json_text
from tokenloom.tokens.folder import tokenizer_files
from tokenloom.tokens.pieces import byte_letters
from tokenloom.tokens.split import WHOLE, pre_tokenizer
from tokenloom.tokens.text import Tokenizer
from tokenloom.tokens.vocabulary import Medium, Vocabulary, extend_tokenizer, text_vocabulary
from tokenloom.version import __version__

T = TypeVar("T")

CUTS = ("gpt2", "llama3", "qwen2", "smollm")
"""Cuts of text before merging, all known to llama.cpp: gpt2 keeps numbers whole, llama3 cuts them in threes,
qwen2 and smollm in single digits."""
END, PAD, TURN, TURN_END = "<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LONGEST = 48
"""Bytes of the longest token: whole sentences that repeat in a text are no words."""
_RUN = re.compile(r"\S{512}|\s{512}")
_PIECE = 1 << 16
_FILES_RECORD = "tokenloom.json"


@dataclass(frozen=True)
class Plan:
    """What kind of tokenizer to learn."""

    vocab_size: int = 32_000
    """Ids of text: bytes, merges and control tokens. Those of other media come on top."""
    cut: str = "gpt2"
    """How text is cut before merging: gpt2, llama3, qwen2 or smollm."""
    characters: bool = False
    """No merge crosses a character, so a frequent character is one id and a rare one is spelt in bytes: for
    Chinese verse. The cut then changes nothing."""
    apart: bool = False
    """Chinese characters are cut apart first: no merge joins two of them, or one with half of the next, while
    words of letters are merged. llama.cpp has no name for this cut."""
    chat: bool = True
    """With ChatML's tokens and a chat template."""
    template: str = ""
    """Another chat template than ChatML's."""
    special: tuple[str, ...] = ()
    """More control tokens."""
    media: tuple[Medium, ...] = ()
    """Media to keep ids for."""
    min_count: int = 2
    """A pair or a character seen less often is not taken."""

    def __post_init__(self) -> None:
        if self.cut not in CUTS:
            raise ValueError(f"cut: found {self.cut!r}; allowed: {', '.join(CUTS)}")
        if self.characters and self.cut != "gpt2":
            raise ValueError(f"cut: found {self.cut!r} with characters; allowed: gpt2, as it changes nothing")
        if self.characters and self.apart:
            raise ValueError("apart: found with characters, which do not join anyway; allowed: one of them")
        if self.template and not self.chat:
            raise ValueError("template: found one, but no chat is wanted; allowed with chat")
        twice = [token for token, n in Counter(self.control).items() if n > 1 or not token.strip()]
        if twice:
            raise ValueError(f"special: found {twice[0]!r}; allowed: texts that are not there already")
        least = 256 + len(self.control)
        if self.vocab_size < least:
            raise ValueError(
                f"vocab_size: found {self.vocab_size}; allowed: {least} and more, for 256 bytes and "
                f"{len(self.control)} control tokens"
            )
        if self.min_count < 1:
            raise ValueError(f"min_count: found {self.min_count}; allowed: 1 and more")

    @property
    def control(self) -> tuple[str, ...]:
        """All control tokens of text, in the order of their ids."""
        return (END, PAD, *((TURN, TURN_END) if self.chat else ()), *self.special)


@dataclass(frozen=True)
class Trained:
    """A tokenizer and what it was learned from."""

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    plan: Plan
    n_texts: int
    n_bytes: int
    """Of UTF-8."""


def train_tokenizer(texts: Iterable[str], plan: Plan) -> Trained:
    """Learns a tokenizer; a text too small for so many ids gives fewer.

    The work is done in a thread, so that Ctrl-C is heard at once. ValueError for no text at all, and for a
    control token that the texts gave an id of their own.
    """
    counted = {"texts": 0, "bytes": 0}

    def counting(stop: threading.Event) -> Iterator[str]:
        for text in texts:
            if stop.is_set():
                raise _Stopped
            counted["texts"] += 1
            counted["bytes"] += len(text.encode())
            yield from pieces(text)

    if plan.characters:
        counts: Counter[str] = Counter()
        for piece in counting(threading.Event()):
            counts.update(piece)
        backend = character_bpe(counts, plan.vocab_size - len(plan.control), plan.min_count)
    else:
        backend = _interruptible(lambda stop: _bpe(counting(stop), plan))
    if not counted["bytes"]:
        raise ValueError("texts: found none; allowed: at least one that is not empty")
    tokenizer, vocabulary = _complete(backend, plan)
    return Trained(tokenizer, vocabulary, plan, counted["texts"], counted["bytes"])


def pieces(text: str) -> Iterator[str]:
    """A text in parts no longer than 65,536 characters, without runs of 512 and more that nothing would cut:
    the counting of pairs takes the square of a word's length."""
    start = 0
    for run in _RUN.finditer(text):
        yield from _at_spaces(text[start : run.end()])
        start = run.end()
    yield from _at_spaces(text[start:])


def _at_spaces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _PIECE:
        stop = max(text.rfind(" ", start + 1, start + _PIECE), text.rfind("\n", start + 1, start + _PIECE))
        stop = stop if stop > 0 else start + _PIECE
        yield text[start:stop]
        start = stop
    if start < len(text):
        yield text[start:]


def _bpe(texts: Iterator[str], plan: Plan) -> tokenizers.Tokenizer:
    # Llama 3's cut is known for taking a piece that is in the vocabulary whole; llama.cpp does so, too.
    backend = tokenizers.Tokenizer(models.BPE(ignore_merges=plan.cut in WHOLE))
    backend.pre_tokenizer = _cut(plan.cut, plan.apart)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=plan.vocab_size - len(plan.control),
        min_frequency=plan.min_count,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=LONGEST,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def _cut(name: str, apart: bool = False) -> pre_tokenizers.PreTokenizer:
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False) if name == "gpt2" else pre_tokenizer(name)
    if not apart:
        return cut
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"), cut])


def character_bpe(counts: Mapping[str, int], size: int, min_count: int = 1) -> tokenizers.Tokenizer:
    """A byte-level BPE of at most `size` ids in which no merge crosses a character.

    Ids: 256 bytes, then the beginnings of characters and the characters themselves, the frequent ones first.
    A character is one id if it was seen `min_count` times and there is room for it, else it is spelt in
    bytes. The merges stay within a character, so whatever cuts texts between characters gives the same ids.
    """
    letters = {byte: letter for letter, byte in byte_letters().items()}
    found = [c for c, count in counts.items() if count >= min_count and not c.isascii()]
    taken: dict[str, None] = {}
    spelled: list[str] = []
    for character in sorted(found, key=lambda c: (-counts[c], c)):
        spelling = "".join(letters[byte] for byte in character.encode())
        new = [s for end in range(2, len(spelling) + 1) if (s := spelling[:end]) not in taken]
        if 256 + len(taken) + len(new) > size:
            break
        taken.update(dict.fromkeys(new))
        spelled.append(spelling)
    ids = {letters[byte]: byte for byte in range(256)}
    merges = []
    for length in (2, 3, 4):
        for spelling in spelled:
            piece = spelling[:length]
            if len(spelling) >= length and piece not in ids:
                ids[piece] = len(ids)
                merges.append((piece[:-1], piece[-1]))
    backend = tokenizers.Tokenizer(models.BPE(ids, merges))
    backend.pre_tokenizer = _cut("gpt2")
    backend.decoder = decoders.ByteLevel()
    return backend


def _complete(backend: tokenizers.Tokenizer, plan: Plan) -> tuple[Tokenizer, Vocabulary]:
    """The learned part with control tokens, template and media."""
    for token in plan.control:
        if backend.token_to_id(token) is not None:
            raise ValueError(f"special: found {token!r}, which the texts gave an id of their own")
    backend.add_special_tokens([AddedToken(token, normalized=False) for token in plan.control])
    first = backend.get_vocab_size() - len(plan.control)
    ids = {token: first + index for index, token in enumerate(plan.control)}
    tokenizer = Tokenizer(
        backend,
        named={"eos_token": ids[END], "pad_token": ids[PAD]},
        ends=[ids[TURN_END]] if plan.chat else (),
        templates={"default": plan.template or CHATML} if plan.chat else None,
    )
    return extend_tokenizer(tokenizer, plan.media, text_vocabulary(tokenizer))


class _Stopped(Exception):
    """Nobody waits for the work any more."""


def _interruptible(work: Callable[[threading.Event], T]) -> T:
    """Runs `work` in a thread and waits. Ctrl-C ends the waiting at once; the library hears nothing."""
    stop, result, errors = threading.Event(), list[T](), list[BaseException]()

    def run() -> None:
        try:
            result.append(work(stop))
        except BaseException as error:  # a panic of the library, written in Rust, is no Exception
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="tokenizer")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    finally:
        stop.set()
    if errors:
        raise errors[0]
    return result[0]


def files_of(trained: Trained) -> dict[str, str]:
    """Name -> text of the files of a tokenizer's folder.

    Beside those that transformers reads: generation_config.json, with all ids that end a text or a turn, and
    tokenloom.json, with the ranges of ids and what the tokenizer was learned from.
    """
    tokenizer, plan = trained.tokenizer, trained.plan
    files = tokenizer_files(tokenizer)
    ends = {"eos_token_id": list(tokenizer.eos_ids), "pad_token_id": tokenizer.pad_id}
    files["generation_config.json"] = json_text(ends)
    files[_FILES_RECORD] = json_text(
        {
            "schema": 1,
            "kind": "tokenizer",
            "tokenloom": __version__,
            "tokenizer_sha256": tokenizer.hash,
            "template_sha256": tokenizer.template.hash if tokenizer.template else None,
            "ranges": trained.vocabulary.to_json(),
            "plan": asdict(plan),
            "learned_from": {"texts": trained.n_texts, "bytes": trained.n_bytes},
        }
    )
    return files


def check_place(folder: Path, overwrite: bool = False) -> None:
    """Refuses a place where `write_tokenizer` could not write; to be asked before the work."""
    config.check_place(folder, overwrite, "tokenizer", _FILES_RECORD)
    if (folder / "model.safetensors").exists():
        raise FileExistsError(f"folder: {folder} does not hold a tokenizer alone, so it is not replaced")


def write_tokenizer(folder: Path | str, trained: Trained, overwrite: bool = False) -> Path:
    """Writes a tokenizer's folder beside its place and renames it: it is there whole or not at all."""
    folder = Path(folder)
    check_place(folder, overwrite)
    with config.new_folder(folder) as beside:
        for name, text in files_of(trained).items():
            (beside / name).write_text(text, encoding="utf-8")
    return folder
