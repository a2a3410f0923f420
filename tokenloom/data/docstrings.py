"""Python files -> conversations that ask for a function's docstring, split by module.

Not a general reader of code. An example is a function without its docstring, and what the docstring says:
whole where it is short, else its first paragraph. A module's functions stand all on one side of the split,
as do those of a module's twin in C's stead (`_pydecimal` goes with `decimal`). Nothing is run or imported:
the source is read by `ast` alone.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import inspect
import itertools
import os
import re
import sys
import sysconfig
import textwrap
import tokenize
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenloom.config import put_json
from tokenloom.data.jsonl import write_records

ASK = "Write a docstring for this function:"
HELD_OUT = 10
"""One module of so many is held out."""
LINES = (3, 40)
"""Lines a function has without its docstring, at least and at most."""
SOURCE = 1000
"""Characters it has at most."""
WHOLE = 240
"""A docstring of so many characters is taken whole; of a longer one the first paragraph."""
PARAGRAPH = 400
"""Characters of that paragraph at most."""
WORDS = 3
"""Words of a docstring at least."""
NEAR = 0.5
"""Docstrings that share this part of their pairs of words are nearly the same."""
SKIPPED = {
    "__pycache__",
    "_bundled",
    "dist-packages",
    "idle_test",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
    "turtledemo",
}
"""Folders that are not read: tests, what others wrote, grammars and topics."""
_TEST_FILE = re.compile(r"(test_.*|.*_tests?|conftest)\.py")
_SIGNATURE = re.compile(r"[\w.]+\(")
_END = re.compile(r"[.!?](?=\s|$)")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Example:
    """One function and its docstring."""

    module: str
    """What the split goes by: the top-level package or file."""
    file: str
    """Below the folder that was read."""
    name: str
    """With the classes and functions around it: "JSONDecoder.decode"."""
    source: str
    """From its decorators to its end, without the docstring, not indented."""
    docstring: str

    @property
    def prompt(self) -> str:
        return f"{ASK}\n\n```python\n{self.source}\n```"

    def facts(self) -> dict[str, Any]:
        """A conversation in OpenAI's shape, with where it came from."""
        return {
            "messages": [
                {"role": "user", "content": self.prompt},
                {"role": "assistant", "content": self.docstring},
            ],
            "module": self.module,
            "file": self.file,
            "function": self.name,
        }


@dataclass(frozen=True)
class Split:
    """Two sets without a module in common."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]


class Unfit(ValueError):
    """A function gives no example; the message is a reason out of a short list."""


def standard_library() -> Path:
    """The folder of the running interpreter's own modules."""
    return Path(sysconfig.get_path("stdlib"))


def read_examples(
    folder: Path,
    on_drop: Callable[[str], None],
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Example]:
    """The examples of a folder's Python files, in the order of their paths, without repeats.

    on_drop: told why a file or a function gave none. progress: told files done, of how many. ValueError where
    the folder holds no Python file.
    """
    files = python_files(folder)
    if not files:
        raise ValueError(f"source: found no Python file in {folder}; allowed: a folder of Python's source")
    seen: set[str] = set()
    for done, file in enumerate(files, 1):
        if progress:
            progress(done, len(files))
        try:
            with tokenize.open(file) as stream:
                text = stream.read()
            tree = ast.parse(text)
        except (SyntaxError, UnicodeDecodeError, ValueError, RecursionError):
            on_drop("files that are no Python of this version")
            continue
        place = file.relative_to(folder).as_posix()
        for name, function in functions(tree):
            try:
                found = example(place, name, function, text)
            except Unfit as error:
                on_drop(str(error))
                continue
            own = {
                _digest("source", found.source),
                _digest("docstring", " ".join(found.docstring.casefold().split())),
            }
            if own & seen:
                on_drop("functions like an earlier one, or documented in its words")
                continue
            seen |= own
            yield found


def python_files(folder: Path) -> list[Path]:
    """A folder's Python files without tests and what others wrote, in the order of their paths."""
    if not folder.is_dir():
        raise ValueError(f"source: {folder} is no folder; allowed: a folder of Python's source")
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name not in SKIPPED and not name.startswith((".", "config-"))
        )
        found += [
            Path(place, name) for name in names if name.endswith(".py") and not _TEST_FILE.fullmatch(name)
        ]
    return sorted(found)


def functions(tree: ast.AST, around: str = "") -> Iterator[tuple[str, Function]]:
    """Every function and method with its name, those inside others, too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield around + node.name, node
            yield from functions(node, f"{around}{node.name}.")
        elif isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            yield from functions(node, f"{around}{node.name}." if isinstance(node, ast.ClassDef) else around)


def example(file: str, name: str, function: Function, text: str) -> Example:
    """A function of a file as an example. Unfit with the reason where it makes none."""
    raw = ast.get_docstring(function, clean=False)
    if raw is None:
        raise Unfit("functions without a docstring")
    if len(function.body) < 2:
        raise Unfit("functions that are too short")
    said = wanted(raw)
    source = without_docstring(function, text)
    n_lines = source.count("\n") + 1
    if n_lines < LINES[0]:
        raise Unfit("functions that are too short")
    if n_lines > LINES[1] or len(source) > SOURCE:
        raise Unfit("functions that are too long")
    if "```" in source:
        raise Unfit("functions that cannot be fenced")
    return Example(module_of(file), file, name, source, said)


def wanted(raw: str) -> str:
    """What an answer shall say of a docstring. Unfit where that is no sentence, or too long."""
    clean = "\n".join(line.rstrip() for line in inspect.cleandoc(raw).splitlines()).strip()
    said = clean if len(clean) <= WHOLE else clean.split("\n\n", 1)[0]
    if len(said) > PARAGRAPH:
        raise Unfit("docstrings that are too long")
    if ">>>" in said or "```" in said or _SIGNATURE.match(said):
        raise Unfit("docstrings that hold code")
    if not said[:1].isalpha() or len(said.split()) < WORDS or not _END.search(said):
        raise Unfit("docstrings without a sentence")
    return said


def without_docstring(function: Function, text: str) -> str:
    """A function's source from its first decorator on, without its docstring and not indented.

    Unfit where what is left is not the same function, as with text over several lines that indenting changes.
    """
    lines = [line.encode() for line in text.split("\n")]
    first = min([function.lineno, *(node.lineno for node in function.decorator_list)])
    said = function.body[0]
    assert said.end_lineno is not None
    assert said.end_col_offset is not None
    before = lines[said.lineno - 1][: said.col_offset].strip()
    after = lines[said.end_lineno - 1][said.end_col_offset :].strip()
    if before or (after and not after.startswith(b"#")):
        raise Unfit("docstrings that share a line with code")
    rest = lines[said.end_lineno : function.end_lineno]
    while rest and not rest[0].strip():
        del rest[0]
    source = textwrap.dedent(b"\n".join([*lines[first - 1 : said.lineno - 1], *rest]).decode()).strip("\n")
    try:
        left = ast.parse(source).body
    except SyntaxError:
        left = []
    if len(left) != 1 or not isinstance(left[0], Function) or _shape(left[0]) != _shape(function, 1):
        raise Unfit("functions that cannot be taken out of their file")
    return source


def _shape(function: Function, start: int = 0) -> str:
    """A function without its first statements, written out without places."""
    rest = copy.copy(function)
    rest.body = function.body[start:]
    return ast.dump(rest)


def module_of(file: str) -> str:
    """What the split of a file below the folder goes by: "_pyio.py" is of io, "json/decoder.py" of json."""
    top = file.split("/", 1)[0].removesuffix(".py")
    return re.sub(r"^_+(py_?)?", "", top).rstrip("_") or top


def is_held_out(module: str) -> bool:
    return int(_digest("held out", module)[:16], 16) % HELD_OUT == 0


def _digest(purpose: str, text: str) -> str:
    return hashlib.sha256(f"{purpose}\0{text}".encode(errors="surrogatepass")).hexdigest()


def split(examples: Iterable[Example], on_drop: Callable[[str], None]) -> Split:
    """Two sets by the modules' names alone, so that they hold from one Python to the next.

    From training an example is dropped whose docstring is nearly a held-out one's: `queue` and `asyncio` say
    much in the same words.
    """
    sides: tuple[list[Example], list[Example]] = ([], [])
    for one in examples:
        sides[is_held_out(one.module)].append(one)
    resembles = _resemblance(sides[1])
    train = []
    for one in sides[0]:
        if resembles(one):
            on_drop("functions documented nearly in the words of a held-out one")
        else:
            train.append(one)
    return Split(tuple(train), tuple(sides[1]))


def _resemblance(held_out: Sequence[Example]) -> Callable[[Example], bool]:
    """Whether a docstring shares the part NEAR of the pairs of words that it and a held-out one have."""
    sizes = []
    places: dict[tuple[str, ...], list[int]] = {}
    for at, one in enumerate(held_out):
        pairs = _pairs(one.docstring)
        sizes.append(len(pairs))
        for pair in pairs:
            places.setdefault(pair, []).append(at)

    def resembles(one: Example) -> bool:
        own = _pairs(one.docstring)
        shared = Counter(at for pair in own for at in places.get(pair, ()))
        return any(count >= NEAR * (len(own) + sizes[at] - count) for at, count in shared.items())

    return resembles


def _pairs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(itertools.pairwise(words))


def write_docstrings(
    out: Path, source: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Writes train.jsonl, heldout.jsonl and counts.json to `out`; returns the counts.

    source: a folder of Python files; None = the running interpreter's standard library. ValueError where it
    has no example for one of the two sets.
    """
    folder = source or standard_library()
    why: Counter[str] = Counter()

    def drop(reason: str) -> None:
        why[reason] += 1

    sets = split(read_examples(folder, drop, progress), drop)
    for name, found in (("train", sets.train), ("heldout", sets.held_out)):
        if not found:
            raise ValueError(
                f"source: {folder} gives no example for {name}.jsonl; allowed: a folder of Python's source "
                f"with documented functions in about {HELD_OUT} modules or more"
            )
    about = {
        "source": "Python's standard library" if source is None else folder.name,
        "python": ".".join(map(str, sys.version_info[:3])),
        "examples": {"train": len(sets.train), "heldout": len(sets.held_out)},
        "modules": {
            "train": len({one.module for one in sets.train}),
            "heldout": len({one.module for one in sets.held_out}),
        },
        "characters": {
            "train": sum(len(one.prompt) + len(one.docstring) for one in sets.train),
            "heldout": sum(len(one.prompt) + len(one.docstring) for one in sets.held_out),
        },
        "heldout_modules": sorted({one.module for one in sets.held_out}),
        "dropped": dict(why.most_common()),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, found in (("train", sets.train), ("heldout", sets.held_out)):
        write_records(out / f"{name}.jsonl", (one.facts() for one in found))
    put_json(out / "counts.json", about)
    return about
