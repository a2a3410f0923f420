"""`loom walk`: from raw text to a model that answers, step by step, each step a command that can be typed.

Not the steps themselves: they are `loom data prepare`, `loom tokenizer train` and `loom train` on the files
that this command lays out, and the evaluation is evals/matching.py. A step whose result lies there is not
done again.
"""

from __future__ import annotations

import json
import shlex
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenloom.config import put_json, put_text
from tokenloom.tasks.declare import LANGS
from tokenloom.tasks.terminal import terminal_lang

if TYPE_CHECKING:
    from tokenloom.evals.ask import Progress
    from tokenloom.evals.interval import Interval

MARK = "walk.json"
RESULT = "evaluation.json"
DEFAULT = "couplets"
UPPERS = ("白日依山尽", "两个黄鹂鸣翠柳", "海上生明月")
"""Well-known first lines, of which no training pair has one."""


@dataclass(frozen=True)
class Size:
    """How much is done."""

    train: int
    held_out: int
    answers: int
    """Upper lines that are answered for the evaluation."""
    vocab_size: int
    prepare: tuple[str, ...] = ()
    """More options for `loom data prepare`."""
    pretrain: tuple[str, ...] = ()
    """Changes to the recipe."""
    sft: tuple[str, ...] = ()


WHOLE = Size(64_000, 2_000, 500, 4_608)
_SHORT = ("run.steps=4", "run.batch_tokens=512", "run.rows=4", "run.eval_every=0")
QUICK = Size(
    600,
    40,
    8,
    1_024,
    ("--workers", "1"),
    (*_SHORT, "model.n_layer=2", "model.dim=64", "model.n_head=2", "model.ffn_dim=128", "run.samples=[]"),
    _SHORT,
)
"""Too little to learn anything from: it shows that every step works."""


@dataclass(frozen=True)
class Walk:
    """One walk-through: where, how large, in what words."""

    out: Path
    size: Size
    words: dict[str, str]

    def say(self, word: str, **figures: Any) -> str:
        return self.words[word].format(out=self.out, **figures)

    def run(self, name: str) -> Path | None:
        """The newest training of this name."""
        from tokenloom.train.record import list_runs

        found = [run for run in list_runs(self.out / "runs") if run.name.startswith(f"{name}-")]
        return found[0].path if found else None


@dataclass(frozen=True)
class Step:
    name: str
    done: Callable[[Walk], bool]
    act: Callable[[Walk], None]


def walk(
    out: Annotated[Path, typer.Argument(help="The folder that everything lands in.")] = Path(DEFAULT),
    lang: Annotated[
        str | None,
        typer.Option(help="What it speaks: en or zh; without it the terminal's.", show_default=False),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="So little of everything that it takes seconds: a try.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew: what an earlier walk left in the folder is deleted.")
    ] = False,
) -> None:
    """Make a small model in ten minutes: data, tokenizer, pretraining, fine-tuning, evaluation, use.

    It learns from couplets of classical Chinese verse that come with Tokenloom, and answers an upper line
    with a lower one. Each step says what it does and which command it stands for. Ctrl-C stops it; the same
    command goes on.
    """
    spoken = lang or terminal_lang()
    if spoken not in LANGS:
        raise ValueError(f"--lang: found {lang!r}; allowed: {', '.join(LANGS)}")
    from tokenloom.data.shipped import recipes

    words = tomllib.loads((recipes() / "words.toml").read_text("utf-8"))[spoken]
    made = Walk(out, QUICK if quick else WHOLE, words)
    _claim(out, quick, fresh)
    _print(made.say("begin"))
    _print(made.say("command"))
    try:
        for number, step in enumerate(STEPS, 1):
            _take(made, number, step)
    except (KeyboardInterrupt, typer.Abort):
        _print(f"\n{made.say('stopped')}")
        raise typer.Exit(130) from None


def _take(made: Walk, number: int, step: Step) -> None:
    title = f"{number}/{len(STEPS)} {made.words[step.name]}"
    if step.done(made):
        _print(f"\n{title}: {made.say('there')}")
        return
    counts = {"train": f"{made.size.train:,}", "held": f"{made.size.held_out:,}"}
    _print(f"\n{title}", bold=True)
    _print(made.say(f"{step.name}_about", **counts))
    begun = time.monotonic()
    step.act(made)
    _print(f"({made.say('took', seconds=round(time.monotonic() - begun))})")


# --- steps --------------------------------------------------------------------------------------------------


def _unpack(made: Walk) -> None:
    from tokenloom.data.shipped import shipped_couplets, write_files

    train = shipped_couplets("train", made.size.train)
    write_files(made.out, train, shipped_couplets("heldout", made.size.held_out))


def _prepare(made: Walk, *more: str) -> None:
    words = ["data", "prepare", str(made.out / "lines.txt"), "--unit", "line", "--preset", "trusted"]
    words += ["--set", "clean.duplicates=false", *made.size.prepare, *more, "--out", str(made.out / "text")]
    _loom(*words)


def _clean(made: Walk) -> None:
    _prepare(made)


def _tokenizer(made: Walk) -> None:
    words = ["tokenizer", "train", str(made.out / "text" / "train.jsonl"), "--characters"]
    _loom(*words, "--vocab-size", str(made.size.vocab_size), "--out", str(made.out / "tokenizer"))


def _shards(made: Walk) -> None:
    _prepare(made, "--tokenizer", str(made.out / "tokenizer"))


def _pretrain(made: Walk) -> None:
    _train(made, "pretrain", made.size.pretrain, "pretrained")


def _sft(made: Walk) -> None:
    _train(made, "sft", made.size.sft, "model")


def _evaluate(made: Walk) -> None:
    from tokenloom.data.shipped import shipped_couplets
    from tokenloom.evals import ledger, matching
    from tokenloom.evals.couplets import baseline_answers
    from tokenloom.evals.report import write_report

    train = shipped_couplets("train", made.size.train)
    held_out = shipped_couplets("heldout", made.size.held_out)
    asked = held_out[: made.size.answers]
    baseline = baseline_answers(train, held_out)
    opened = _opened(made.out / "model")
    try:
        with _bar(made.words["evaluate"]) as progress:
            bits = matching.matching_bits(opened, held_out, progress)
        with _bar(made.words["evaluate"]) as progress:
            said = matching.answers(opened, [pair.upper for pair in asked], progress)
    finally:
        opened.close()
    kept = matching.kept([(pair.upper, answer) for pair, answer in zip(asked, said, strict=True)], train)
    real = matching.kept([(pair.upper, pair.lower) for pair in held_out], train)
    _tell(made, bits, baseline, kept, real)
    run = made.run("sft")
    assert run is not None
    rows = {"bits_per_character": bits, "bits_per_character_5gram": baseline}
    shares = {"equal_length": kept.equal_length, "repeated": kept.repeated, "copied": kept.copied}
    settings = f"temperature {matching.SAMPLING.temperature}, top_p {matching.SAMPLING.top_p}"
    facts = {
        "scores": [
            *matching.scores(rows, "held-out couplets", "the lower line, given the upper one"),
            *matching.scores(shares, "answers to held-out upper lines", settings),
        ],
        "samples": [
            {"prompt": pair.upper, "text": answer} for pair, answer in zip(asked[:5], said, strict=False)
        ],
        "real": real.facts(),
    }
    line = ledger.append(run / ledger.EVALS, "walk", facts)
    write_report(run)
    put_json(made.out / RESULT, line)
    _print(made.say("report", run=_quoted(run)))


def _tell(made: Walk, bits: Interval, baseline: Interval, kept: Any, real: Any) -> None:
    figures = {"model": str(bits), "baseline": str(baseline), "ratio": f"{bits.value / baseline.value:.3f}"}
    _print(made.say("bits", **figures))
    _print(made.say("better" if bits.value < baseline.value else "worse"))
    shares = {
        "equal": kept.equal_length,
        "repeated": kept.repeated,
        "copied": kept.copied,
        "real_repeated": real.repeated,
        "real_copied": real.copied,
    }
    said = {name: f"{share.value:.1%}" for name, share in shares.items()}
    _print(made.say("kept", n=kept.equal_length.n, **said))


def _use(made: Walk) -> None:
    from tokenloom.evals.matching import answers

    model = made.out / "model"
    opened = _opened(model)
    try:
        for upper, lower in zip(UPPERS, answers(opened, UPPERS), strict=True):
            _print(f"  {upper} → {lower}")
    finally:
        opened.close()
    _print(made.say("more", model=_quoted(model)))
    _print(made.say("export", model=_quoted(model)))


def _exists(*parts: str) -> Callable[[Walk], bool]:
    return lambda made: made.out.joinpath(*parts).exists()


def _has_shards(made: Walk) -> bool:
    file = made.out / "text" / "shards" / "train" / "manifest.json"
    return file.is_file() and bool(json.loads(file.read_text("utf-8"))["finished"])


STEPS = (
    Step("unpack", _exists("lines.txt"), _unpack),
    Step("clean", _exists("text", "report.json"), _clean),
    Step("tokenizer", _exists("tokenizer"), _tokenizer),
    Step("shards", _has_shards, _shards),
    Step("pretrain", _exists("pretrained"), _pretrain),
    Step("sft", _exists("model"), _sft),
    Step("evaluate", _exists(RESULT), _evaluate),
    Step("use", lambda made: False, _use),
)
OWN = (
    *(
        "lines.txt",
        "pairs.jsonl",
        "questions.jsonl",
        "text",
        "tokenizer",
        "pretrain.toml",
        "sft.toml",
        "runs",
    ),
    *("pretrained", "model", RESULT),
)
"""What a walk writes into its folder, beside the mark."""


# --- how ----------------------------------------------------------------------------------------------------


def _loom(*words: str) -> None:
    """Says a command and runs it, in this process."""
    from typer.main import get_command

    from tokenloom.cli import app

    _print("$ " + shlex.join(["loom", *words]), bold=True)
    status = get_command(app).main(args=list(words), prog_name="loom", standalone_mode=False)
    if status:
        raise typer.Exit(status)


def _train(made: Walk, name: str, changes: tuple[str, ...], result: str) -> None:
    """Runs a recipe, or goes on with its run; then the model is copied to `result`."""
    from tokenloom.train.checkpoint import checkpoints
    from tokenloom.train.record import read_run

    recipe = made.out / f"{name}.toml"
    put_text(recipe, _recipe(name, made.out))
    run = made.run(name)
    if run is None or not ((run / "model").is_dir() or checkpoints(run / "checkpoints")):
        _loom("train", str(recipe), *(word for change in changes for word in ("--set", change)))
    elif not (run / "model").is_dir():
        _loom("train", str(run), "--resume")
    run = made.run(name)
    if run is None or read_run(run).state != "finished":
        raise KeyboardInterrupt
    _print(f"$ cp -r {_quoted(run / 'model')} {_quoted(made.out / result)}", bold=True)
    beside = made.out / f".{result}.new"
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(run / "model", beside)
    beside.rename(made.out / result)


def _recipe(name: str, out: Path) -> str:
    """A shipped recipe with the paths of this walk."""
    from tokenloom.data.shipped import recipes

    place = json.dumps(out.as_posix(), ensure_ascii=False)[1:-1]
    text = (recipes() / f"{name}.toml").read_text("utf-8")
    return text.replace(f'"{DEFAULT}/', f'"{place}/')


def _opened(model: Path) -> Any:
    from tokenloom.evals.open import open_model

    return open_model(model.absolute())


def _claim(out: Path, quick: bool, fresh: bool) -> None:
    """The folder is new, empty, or an earlier walk's of the same size."""
    mark = out / MARK
    if mark.is_file() and fresh:
        for name in OWN:
            place = out / name
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
        put_json(mark, {"quick": quick})
    if mark.is_file():
        if json.loads(mark.read_text("utf-8"))["quick"] != quick:
            begun = "with" if not quick else "without"
            raise ValueError(f"out: {out} was begun {begun} --quick; go on so, or start anew with --fresh")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"out: {out} holds something else; name a folder that is new or empty")
    out.mkdir(parents=True, exist_ok=True)
    put_json(mark, {"quick": quick})


def _print(text: str, bold: bool = False) -> None:
    typer.secho(text, bold=bold)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    """A bar on stderr; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
