"""Docstrings before and after: the rules, the docstring inside an answer, and a whole run at toy size."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_training import tiny_recipe

import tokenloom
from tokenloom.config import fill, read_recipe, to_toml
from tokenloom.evals import docstrings
from tokenloom.evals.docstrings import Answered, Asked, compare, docstring_in, style
from tokenloom.evals.finetune import score_docstrings
from tokenloom.train.recipe import Recipe

RECIPE = Path(tokenloom.__file__).parent / "recipes" / "docstrings.toml"
SAID = ["Return the sum of both.", "Close the file.\n\nWhat was not written is lost.", "Tell what is there."]


def asked(n: int = 3) -> list[Asked]:
    return [Asked(f"f{i}", f"def f{i}", SAID[i % 3], (1, 2), tuple(range(4 + i))) for i in range(n)]


def test_the_authors_words_score_best() -> None:
    worse = [Answered("```python\ndef f(x):\n    pass\n```", False, 20.0) for _ in asked()]
    same = [Answered(one.reference, True, 2.0) for one in asked()]
    found = {one.name: one for one in compare(asked(), worse, same)}
    assert found["chrF"].after.value == pytest.approx(100)
    assert found["ROUGE-L"].after.value == pytest.approx(1)
    assert found["style"].after.value == 1
    assert found["style"].reference == 1
    assert found["style"].before.value == 0
    # 3 * 20 nats over 4 + 5 + 6 ids.
    assert found["held-out loss"].before.value == pytest.approx(60 / 15)
    assert found["held-out loss"].after.value == pytest.approx(6 / 15)
    for one in found.values():
        assert one.change.value == pytest.approx(one.after.value - one.before.value)
        assert one.change.n == 3
    assert found["held-out loss"].change.high < 0 < found["chrF"].change.low


def test_no_change_is_no_change() -> None:
    same = [Answered("Return it, or nothing.", True, 3.0 + i) for i in range(3)]
    for one in compare(asked(), same, same):
        assert (one.change.value, one.change.low, one.change.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("Return the sum.", set()),
        ("Return the sum.\n\nOf all numbers, in order", set()),
        ("return the sum.", {"capital"}),
        ("Return the sum", {"summary"}),
        ("Return the sum.\nOf all.", {"blank line"}),
        ("Return the sum " * 6 + "now.", {"columns"}),
        ('"""Return the sum."""', {"bare", "capital", "summary"}),
        ("```python\ndef f():\n    pass\n```", {"bare", "capital", "summary", "blank line"}),
        ("Here it is.\n\n    async def f(x):", {"bare"}),
        ("", set(docstrings.RULES)),
    ],
)
def test_each_rule_has_what_breaks_it(text: str, broken: set[str]) -> None:
    assert {name for name, kept in style(text).items() if not kept} == broken
    if text:
        assert not style(text, ended=False)["ended"]


@pytest.mark.parametrize(
    "text",
    [
        "Return the sum.",
        '"""Return the sum."""',
        '```python\ndef f(x):\n    """\n    Return the sum.\n    """\n    return x\n```\nThat is all.',
        "Here:\n\n'''Return the sum.",
        "```\nReturn the sum.\n```",
        "```python\ndef f(x):\n    return x\n```\n\nReturn the sum.",
        "```python\nReturn the sum.",
    ],
)
def test_the_docstring_is_found_inside_an_answer(text: str) -> None:
    assert docstring_in(text).removeprefix("Here:\n\n") == "Return the sum."


def conversations(file: Path, texts: list[str]) -> Path:
    rows = []
    for i, text in enumerate(texts):
        turns = [{"role": "user", "content": f"def f{i}(x):"}, {"role": "assistant", "content": text}]
        rows.append({"messages": turns, "module": f"m{i}", "file": f"m{i}.py", "function": f"f{i}"})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A tiny chat model, and a run that put an adapter beside it."""
    tmp_path = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKENLOOM_HOME", str(tmp_path / "home"))
        yield _made(tmp_path)


@pytest.fixture
def tuned(made: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same, the run in a copy of its own."""
    shutil.copytree(made[1], tmp_path / "run")
    return made[0], tmp_path / "run"


def _made(tmp_path: Path) -> tuple[Path, Path]:
    from tokenloom.train.execute import train

    plain, _ = train(tiny_recipe(tmp_path, **{"run.steps": 2, "model.context": 256}))
    file = conversations(tmp_path / "c.jsonl", SAID * 3)
    run = {"steps": 1, "rows": 2, "batch_tokens": 512, "dtype": "float32", "threads": 1}
    table: dict[str, Any] = {
        "name": "tuned",
        "objective": "sft",
        "model": {"start": str(plain / "model")},
        "data": {"train": [str(file)], "held_out": [str(file)], "context": 128},
        "optim": {"lr": 0.02, "kind": "adamw"},
        "run": {**run, "root": str(tmp_path / "runs")},
    }
    whole, _ = train(fill(Recipe, table))
    table["model"] = {"start": str(whole / "model")}
    table["lora"] = {"rank": 4}
    table["run"] = {**run, "steps": 12, "root": str(tmp_path / "runs")}
    place, _ = train(fill(Recipe, table))
    return whole, place


def test_a_run_gets_its_scores_and_answers(tuned: tuple[Path, Path]) -> None:
    _, run = tuned
    heard: list[tuple[str, int, int]] = []
    found = score_docstrings(run, n=5, max_tokens=12, progress=lambda *all: heard.append(all))
    rows = json.loads((run / "scores.json").read_text())
    assert {"name", "before", "after", "low", "high", "n"} <= set(rows[0])
    loss = rows[0]
    assert loss["name"] == "held-out loss"
    assert loss["after"] < loss["before"]
    assert loss["high"] < 0
    assert loss["n"] == 5
    answers = json.loads((run / "examples.json").read_text())
    assert len(answers) == 5
    assert {"function", "prompt", "reference", "before", "after"} == set(answers[0])
    assert answers[0]["reference"] in SAID
    assert answers[0]["function"].startswith("m")
    assert [one for one in heard if one[0] == "after"][-1] == ("after", 5, 5)
    # The report shows them without knowing of docstrings.
    from tokenloom.evals.report import write_report

    report, _ = write_report(run)
    assert "held-out loss" in report.markdown
    assert f"before {found.changes[0].before.value:.4g} " in report.markdown
    assert [row["name"] for row in rows] == [one.name for one in found.changes]


def test_the_loss_is_that_of_the_training(tuned: tuple[Path, Path]) -> None:
    """The same documents, weighed alike: what the run measured at its end is the loss after."""
    _, run = tuned
    found = score_docstrings(run, n=100, max_tokens=4)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    measured = [line["eval"]["held_out_loss"] for line in lines if "eval" in line][-1]
    assert found.changes[0].after.value == pytest.approx(measured, rel=1e-3)


def test_a_run_of_a_whole_model_is_scored_and_others_refused(
    tuned: tuple[Path, Path], tmp_path: Path
) -> None:
    whole, run = tuned
    with pytest.raises(ValueError, match="no chat template"):
        score_docstrings(whole)
    (run / "adapter").rename(run / "moved")
    with pytest.raises(ValueError, match="no finished fine-tune"):
        score_docstrings(run)
    # The run's own start in the model's place: nothing changed.
    (run / "model").symlink_to(whole / "model")
    found = score_docstrings(run, n=3, max_tokens=4)
    assert {one.change.value for one in found.changes} == {0.0}
    with pytest.raises(ValueError, match="no run folder"):
        score_docstrings(tmp_path)


def test_the_recipe_is_whole(tmp_path: Path) -> None:
    table = tomllib.loads(RECIPE.read_text("utf-8"))
    found = read_recipe(Recipe, RECIPE)
    for section, values in table.items():
        for key, value in values.items() if isinstance(values, dict) else ():
            kept = getattr(getattr(found, section), key)
            assert (list(kept) if isinstance(kept, tuple) else kept) == value, f"{section}.{key}"
    assert found.model.start == "smollm2"
    assert found.lora.rank == 16
    assert found.data.context == 512
    assert found.data.pack
    assert len(found.run.samples) == 3
    for prompt in found.run.samples:
        compile(prompt.split("```python\n")[1].split("```")[0], "sample", "exec")
        assert prompt.endswith("<|im_start|>assistant\n")
    (tmp_path / "again.toml").write_text(to_toml(found))
    assert read_recipe(Recipe, tmp_path / "again.toml") == found


def test_the_recipe_assembles_at_toy_size(
    tuned: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenloom.train.start import assemble

    monkeypatch.chdir(tmp_path)
    (tmp_path / "docstrings").mkdir()
    for name in ("train", "heldout"):
        conversations(tmp_path / "docstrings" / f"{name}.jsonl", SAID * 20)
    changes = [f'model.start="{tuned[0] / "model"}"', "data.context=128", "run.tokens=2048", "run.threads=1"]
    parts = assemble(read_recipe(Recipe, RECIPE, changes))
    assert parts.sizes.steps == 1
    assert parts.sizes.batch_tokens == 2048
    trained = [name for name, p in parts.model.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * 7 * parts.model.config.n_layer
    assert parts.watched is not None
    assert len(parts.held_out) == 1
