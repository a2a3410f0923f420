"""Docstrings as a data set: what of a function is shown, what is left out, no module on both sides."""

from __future__ import annotations

import ast
import json
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tokenloom.data import docstrings
from tokenloom.data.conversations import read_conversations
from tokenloom.data.docstrings import Example, Unfit, example, functions, read_examples, write_docstrings


def only(text: str) -> Example:
    """The example of a text's first function."""
    text = textwrap.dedent(text)
    name, function = next(functions(ast.parse(text)))
    return example("package/part.py", name, function, text)


def body(n: int) -> str:
    return f'''
def double_{n}(value):
    """Doubles a{n} b{n} c{n} d{n}."""
    twice = value * 2
    return twice + {n}


def halve_{n}(value):
    """Halves e{n} f{n} g{n} h{n}."""
    half = value / 2
    return half - {n}
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Forty modules: files and packages, with what is not to be read among them."""
    folder = tmp_path / "lib"
    for n in range(30):
        (folder / f"module{n}.py").parent.mkdir(exist_ok=True)
        (folder / f"module{n}.py").write_text(body(n))
    for n in range(10):
        (folder / f"package{n}").mkdir()
        for part in range(3):
            (folder / f"package{n}" / f"part{part}.py").write_text(body(100 + 10 * n + part))
    for n, place in enumerate(
        ("test/a.py", "package1/tests/a.py", "site-packages/a.py", "test_b.py", "lib2to3/a.py")
    ):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(body(500 + n))
    (folder / "broken.py").write_text("def broken(:\n    pass\n")
    (folder / "bytes.py").write_bytes(b"# coding: utf-8\nx = '\xff\xfe'\n")
    (folder / "copy.py").write_text(body(3))
    return folder


def rows(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_no_module_is_on_both_sides(tree: Path, tmp_path: Path) -> None:
    about = write_docstrings(tmp_path / "out", tree)
    train, held = rows(tmp_path / "out" / "train.jsonl"), rows(tmp_path / "out" / "heldout.jsonl")
    assert len(train) == about["examples"]["train"]
    assert len(held) == about["examples"]["heldout"]
    assert len(train) + len(held) == 2 * (30 + 10 * 3)
    sides = [{row["module"] for row in side} for side in (train, held)]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 40
    # A package is one module: its files stay together.
    assert {f"package{n}" for n in range(10)} <= sides[0] | sides[1]
    assert about["heldout_modules"] == sorted(sides[1])
    assert json.loads((tmp_path / "out" / "counts.json").read_text()) == about


def test_the_side_of_a_module_is_its_own(tree: Path, tmp_path: Path) -> None:
    write_docstrings(tmp_path / "whole", tree)
    held = {row["module"] for row in rows(tmp_path / "whole" / "heldout.jsonl")}
    for n in range(0, 30, 2):
        (tree / f"module{n}.py").unlink()
    (tree / "another.py").write_text(body(900))
    write_docstrings(tmp_path / "part", tree)
    for side, name in ((True, "heldout"), (False, "train")):
        for row in rows(tmp_path / "part" / f"{name}.jsonl"):
            if row["module"] != "another":
                assert (row["module"] in held) == side


def test_what_is_not_read_is_skipped_and_counted(tree: Path) -> None:
    dropped: list[str] = []
    found = list(read_examples(tree, dropped.append))
    assert not any("test" in one.file or "site-packages" in one.file for one in found)
    assert not any("lib2to3" in one.file for one in found)
    assert dropped.count("files that are no Python of this version") == 2
    assert not {one.file for one in found} & {"broken.py", "bytes.py"}
    # copy.py comes before module3.py, whose functions are the same.
    assert dropped.count("functions like an earlier one, or documented in its words") == 2
    assert "module3.py" not in {one.file for one in found}


def test_a_docstring_said_twice_is_learned_once(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(body(1))
    other = body(1).replace("twice + 1", "twice + 1 + 0").replace("Doubles a1", "doubles  A1")
    (tmp_path / "b.py").write_text(other)
    dropped: list[str] = []
    assert {one.file for one in read_examples(tmp_path, dropped.append)} == {"a.py"}
    assert len(dropped) == 2


def test_what_is_said_nearly_as_in_a_held_out_module_is_not_learned() -> None:
    held = next(name for name in map("module{}".format, range(99)) if docstrings.is_held_out(name))
    said = "Block until all items in the queue have been gotten and processed."
    texts = {
        "other1": said.replace("Block", "Blocks"),
        "other2": "Return the items of the queue.",
        held: said,
    }
    dropped: list[str] = []
    made = [Example(module, f"{module}.py", "f", "def f(): ...", text) for module, text in texts.items()]
    assert not any(docstrings.is_held_out(module) for module in ("other1", "other2"))
    sets = docstrings.split(made, dropped.append)
    assert [one.module for one in sets.train] == ["other2"]
    assert [one.module for one in sets.held_out] == [held]
    assert dropped == ["functions documented nearly in the words of a held-out one"]


def test_the_docstring_is_taken_out_and_nothing_else() -> None:
    found = only(
        '''
        class Box:
            @property
            @cached("a name", deep=[1, 2])
            def size(self) -> int:
                # Why this is so.
                r"""The size of the box.

                It is a number.
                """  # noqa

                total = 0
                for side in self.sides:

                    total += side
                return total
        '''
    )
    assert found.name == "Box.size"
    assert found.docstring == "The size of the box.\n\nIt is a number."
    assert found.source == textwrap.dedent(
        """\
        @property
        @cached("a name", deep=[1, 2])
        def size(self) -> int:
            # Why this is so.
            total = 0
            for side in self.sides:

                total += side
            return total"""
    )
    assert found.prompt.count("```") == 2
    assert "The size" not in found.prompt


def test_async_nested_and_conditional_functions_are_found() -> None:
    text = textwrap.dedent(
        '''
        async def fetch(urls):
            """Fetch every address in turn."""
            async def one(url):
                """Fetch one address, whatever it takes."""
                answer = await get(url)
                return answer
            return [await one(url) for url in urls]

        try:
            import fast
        except ImportError:
            if True:
                def slow(value):
                    """Do it slowly, without help."""
                    for _ in range(3):
                        value += 1
                    return value
        '''
    )
    made = {name: example("a.py", name, node, text) for name, node in functions(ast.parse(text))}
    assert list(made) == ["fetch", "fetch.one", "slow"]
    assert made["fetch"].source.startswith("async def fetch(urls):\n    async def one")
    assert "Fetch every" not in made["fetch"].source
    assert made["fetch.one"].source.startswith("async def one(url):\n    answer")
    assert made["slow"].source.startswith("def slow(value):\n    for")


def test_characters_of_many_bytes_and_form_feeds_move_nothing() -> None:
    found = only(
        'x = "\u2028"\n\x0c\ndef heiß(größe="äöü"):\n    """Größe, die nicht klein ist."""\n'
        '    wert = "春江" + größe\n    return wert\n'
    )
    assert found.source == 'def heiß(größe="äöü"):\n    wert = "春江" + größe\n    return wert'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def f(x):\n    y = x\n    return y\n", "without a docstring"),
        ('def f(x):\n    """Return it, and nothing."""\n', "too short"),
        ('def f(x): """Return it, and nothing."""; return x\n', "share a line"),
        ('def f(x):\n    """Return it."""\n    y = x\n    return y\n', "without a sentence"),
        ('def f(x):\n    """return the value of x"""\n    y = x\n    return y\n', "without a sentence"),
        ('def f(x):\n    """f(x) -> y. Return the value."""\n    y = x\n    return y\n', "hold code"),
        ('def f(x):\n    """Return a thing. >>> f(1)"""\n    y = x\n    return y\n', "hold code"),
        (
            'def f(x):\n    """' + "It is long. " * 60 + '"""\n    y = x\n    return y\n',
            "docstrings that are too",
        ),
        ('def f(x):\n    """Return the whole."""\n' + "    x += 1\n" * 41, "functions that are too long"),
        ('def f(x):\n    """Return the whole."""\n    y = "```"\n    return y\n', "fenced"),
        (
            'class A:\n    def f(x):\n        """Return the whole."""\n'
            '        y = """one\n  two"""\n        return y\n',
            "taken out",
        ),
    ],
)
def test_what_makes_no_example(text: str, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        only(text)


def test_a_long_docstring_gives_its_first_paragraph() -> None:
    rest = "More is said here. " * 20
    found = only(
        f'def f(x):\n    """Return the whole of it.\n\n    {rest}\n    """\n    y = x\n    return y\n'
    )
    assert found.docstring == "Return the whole of it."


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("json/decoder.py", "json"),
        ("_pyio.py", "io"),
        ("_pydecimal.py", "decimal"),
        ("_strptime.py", "strptime"),
        ("__future__.py", "future"),
        ("pydoc.py", "pydoc"),
    ],
)
def test_twins_are_one_module(file: str, module: str) -> None:
    assert docstrings.module_of(file) == module


def test_the_files_are_read_as_conversations(tree: Path, tmp_path: Path) -> None:
    write_docstrings(tmp_path, tree)
    dropped: list[object] = []
    found = list(
        read_conversations(
            [str(tmp_path / "train.jsonl")], on_dropped=dropped.append, on_note=lambda note: None
        )
    )
    assert not dropped
    assert [turn["role"] for turn in found[0].messages] == ["user", "assistant"]
    assert found[0].messages[0]["content"].startswith("Write a docstring for this function:\n\n```python\n")
    assert {"module", "file", "function"} <= set(found[0].meta)


def test_a_folder_without_python_is_refused_and_nothing_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="source: found no Python file"):
        write_docstrings(tmp_path / "out", tmp_path / "empty")
    with pytest.raises(ValueError, match="is no folder"):
        write_docstrings(tmp_path / "out", tmp_path / "nowhere")
    (tmp_path / "empty" / "one.py").write_text(body(1))
    with pytest.raises(ValueError, match=r"no example for (train|heldout)\.jsonl"):
        write_docstrings(tmp_path / "out", tmp_path / "empty")
    assert not (tmp_path / "out").exists()


def test_the_command_tells_the_counts(tree: Path, tmp_path: Path) -> None:
    import typer

    from tokenloom.cli.examples import docstrings as command

    app = typer.Typer()
    app.command()(command)
    out = tmp_path / "out"
    said = CliRunner().invoke(app, [str(out), "--source", str(tree), "--json"])
    assert said.exit_code == 0, said.output
    about = json.loads(said.stdout)
    assert about["examples"]["train"] == len(rows(out / "train.jsonl"))
    told = CliRunner().invoke(app, [str(out), "--source", str(tree)])
    assert "2 files that are no Python of this version" in told.stdout
