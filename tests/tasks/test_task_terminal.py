"""The terminal's command that comes out of a declaration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from tokenloom.tasks import FieldError, parse_task, tasks, terminal_lang, typer_command
from tokenloom.tasks.declare import Task

Got = list[tuple[dict[str, Any], str, str]]


def app_of(task: Task, lang: str = "en") -> tuple[typer.Typer, Got]:
    got: Got = []

    def run(
        values: dict[str, Any], lang: str, model: Annotated[str, typer.Option(help="Which.")] = "m"
    ) -> None:
        got.append((values, lang, model))

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command(task.name)(typer_command(task, run, lang))
    return app, got


def call(task: Task, *words: str, stdin: str | bytes | None = None) -> Any:
    app, got = app_of(task)
    result = CliRunner().invoke(app, list(words), input=stdin, catch_exceptions=True)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return got[0]


def test_options_are_named_after_the_fields() -> None:
    values, lang, model = call(
        tasks()["write"], "Once", "--max-tokens", "5", "--temperature", "0", "-n", "2", "--model", "x"
    )
    assert values == {"prompt": "Once", "max_tokens": 5, "temperature": 0, "top_p": 0.95, "n": 2}
    assert (lang, model) == ("en", "x")


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("task", tasks().values(), ids=lambda t: t.name)
def test_the_help_is_the_declarations(task: Task, lang: str) -> None:
    app, _ = app_of(task, lang)
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "300", "TERMINAL_WIDTH": "300"}).output
    assert task.summary[lang] in shown
    for field in task.fields:
        assert field.help[lang] in shown


def test_text_from_a_file_or_a_pipe(tmp_path: Path) -> None:
    file = tmp_path / "start.txt"
    file.write_text("山上\n\n", encoding="utf-8")
    write = tasks()["write"]
    assert call(write, "--file", str(file))[0]["prompt"] == "山上\n"
    assert call(write, stdin="piped\n")[0]["prompt"] == "piped"
    assert call(write, "-", stdin="piped")[0]["prompt"] == "piped"
    with pytest.raises(FieldError, match="prompt is given twice"):
        call(write, "x", "--file", str(file))
    with pytest.raises(FieldError, match="prompt is empty"):
        call(write, stdin="")
    with pytest.raises(FieldError, match="the pipe is not text in UTF-8"):
        call(write, stdin=b"\xff\xfe")
    with pytest.raises(FileNotFoundError):
        call(write, "--file", str(tmp_path / "none"))


def test_wrong_values_are_said_before_anything_runs() -> None:
    with pytest.raises(FieldError, match=r"temperature is 3\.0; allowed is a number, 0 to 2"):
        call(tasks()["write"], "x", "--temperature", "3")
    with pytest.raises(FieldError, match="lang is 'fr'"):
        call(tasks()["write"], "x", "--lang", "fr")


def test_flags_choices_and_files(tmp_path: Path) -> None:
    from test_task_declare import PICK

    paper = tmp_path / "p.txt"
    paper.write_text("paper\n")
    task = parse_task(PICK)
    assert call(task, "--loud", "--tone", "cool", "--paper", str(paper))[0] == {
        "tone": "cool",
        "loud": True,
        "paper": "paper\n",
    }
    assert call(task, "--no-loud")[0] == {"tone": "warm", "loud": False}
    with pytest.raises(FieldError, match="tone is 'hot'"):
        call(task, "--tone", "hot")


def test_an_option_may_not_hide_a_field() -> None:
    def run(values: dict[str, Any], lang: str, seed: int = 0) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match="'seed' is a field already"):
        typer_command(tasks()["write"], run)


@pytest.mark.parametrize(("locale", "lang"), [("zh_CN.UTF-8", "zh"), ("en_GB.UTF-8", "en"), ("C", "en")])
def test_the_terminals_language(locale: str, lang: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    assert terminal_lang() == lang
