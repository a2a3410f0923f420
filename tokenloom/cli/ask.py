"""`loom chat` and `loom write`: a model in this process, its answer in the terminal."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tokenloom.api import Generation, Model

Dtype = Annotated[str, typer.Option(help="auto, or float32, bfloat16, float16 to compute with PyTorch.")]
Device = Annotated[str, typer.Option(help="auto, cpu, or cuda.")]


def write(
    values: dict[str, Any],
    lang: str,
    *,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A model's name, folder or GGUF file.")
    ] = "smollm2",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write the text and what follows to this file, labelled as AI-generated."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print text, ids, seed and timing as JSON.")
    ] = False,
    stop: Annotated[
        list[str] | None, typer.Option(help="End where this text would come (may be given again).")
    ] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
) -> None:
    """Runs the task `write` in this process."""
    from tokenloom.tasks import build, tasks

    task = tasks()["write"]
    made = build(task, values, lang)
    options = {**made.sampling, "stop": tuple(stop or ())}
    if output is not None and options["n"] != 1:
        raise ValueError(f"n: found {options['n']}; with --output one version is written to the file")
    if output is not None:
        _check_output(output)
    with _load(model, dtype, device) as loaded:
        if as_json or output is not None or options["n"] > 1:
            answer = loaded.generate(made.text, **options)
            _deliver(made.text, answer, output, as_json, lang)
        else:
            _print_stream(loaded, made.text, options)


def _check_output(path: Path) -> None:
    """Said before the model has worked for nothing. ValueError names what is wrong."""
    if path.suffix.lower() not in (".md", ".markdown", ".txt", ".json"):
        raise ValueError(f"--output: found {path.name!r}; a text's file ends in .md, .txt or .json")
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise ValueError(f"--output: found {str(path)!r}; {what}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"--output: {path} may not be written")
    from tokenloom.trust import check_producer

    check_producer()


def _print_stream(model: Model, text: str, options: dict[str, Any]) -> None:
    if sys.stdout.isatty():
        typer.secho(text, dim=True, nl=False)
    try:
        for piece in model.stream(text, **options):
            print(piece.text, end="", flush=True)
    finally:
        print(flush=True)


def _deliver(
    prompt: str, answer: Generation | list[Generation], output: Path | None, as_json: bool, lang: str
) -> None:
    answers = answer if isinstance(answer, list) else [answer]
    if as_json:
        for one in answers:
            print(json.dumps(_facts(prompt, one), ensure_ascii=False))
    if output is not None:
        from tokenloom.trust import label_work

        whole = prompt + answers[0].text.rstrip() + "\n"
        if output.suffix.lower() == ".json":
            whole = json.dumps(_facts(prompt, answers[0]), ensure_ascii=False, indent=2)
        label_work(output, whole, lang=lang)
        print(f"written to {output}", file=sys.stderr if as_json else sys.stdout)
    elif not as_json:
        for i, one in enumerate(answers, 1):
            print(f"--- {i} of {len(answers)}, seed {one.seed} ---\n{one.text.rstrip()}")


def _facts(prompt: str, one: Generation) -> dict[str, Any]:
    used = one.timing
    return {
        "prompt": prompt,
        "text": one.text,
        "ids": list(one.ids),
        "finish": one.finish,
        "seed": one.seed,
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "first_token_s": round(used.ttft_s, 4),
        "total_s": round(used.total_s, 4),
    }


def chat(
    model: Annotated[str, typer.Argument(help="A model's name, folder or GGUF file.")] = "smollm2",
    system: Annotated[str | None, typer.Option(help="A system message: how the model should behave.")] = None,
    temperature: Annotated[
        float, typer.Option(help="How freely words are chosen; 0 takes the likeliest.", min=0)
    ] = 0.7,
    top_p: Annotated[
        float, typer.Option(help="Only the likeliest words with this probability together.")
    ] = 0.95,
    max_tokens: Annotated[int, typer.Option(help="Tokens of an answer at most.", min=1)] = 1024,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same answers.", show_default=False)
    ] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
) -> None:
    """Talk to a model in the terminal. Ctrl-C stops an answer; /help lists the commands, Ctrl-D leaves."""
    from tokenloom import terminal

    options = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
    if seed is not None:
        options["seed"] = seed
    with _load(model, dtype, device) as loaded:
        terminal.run(loaded, options, system)


def _load(name: str, dtype: str, device: str) -> Model:
    """The model; one that is not here yet is fetched under a progress bar."""
    from tokenloom import api, hub
    from tokenloom.hub.card import composes, has_codec, speaks

    try:
        found = hub.find(name)
    except hub.NotInstalled:
        from tokenloom.cli.models import pull

        pull(name)
        found = hub.find(name)
    others = (
        (has_codec, "draws pictures and does not talk", "`loom draw` and `loom describe` use it"),
        (composes, "composes music and writes no text", "`loom compose` uses it"),
        (speaks, "reads aloud and writes no text", "`loom speak --model` uses it"),
    )
    for is_one, does, use in others:
        if is_one(found.path):
            raise ValueError(f"model: {name} {does}; {use}. For words take smollm2, say")
    return api.load(name, dtype=dtype, device=device)
