"""`loom draw`, `edit`, `restyle`, `describe` run as the program is, by a model of random weights."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_painter import tiny_painter
from typer.main import get_command

from tokenloom import cli
from tokenloom.cli.picture_options import How
from tokenloom.tasks.picture_wish import MAX_CANDIDATES
from tokenloom.tokens.image import DESCRIPTIONS, DRAFTS, MAX_DESCRIPTIONS
from tokenloom.trust import verify


@dataclass(frozen=True)
class Done:
    status: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_painter(tmp_path_factory.mktemp("models") / "painter")


@pytest.fixture
def loom(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, painter: Path
) -> Callable[..., Done]:
    """Runs the program in this process, in a folder of its own."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")

    def run(*words: str, model: bool = True) -> Done:
        named = ["--model", str(painter)] if model else []
        monkeypatch.setattr(sys, "argv", ["loom", *words, *named])
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return run


def picture(name: str, colour: str = "red", size: tuple[int, int] = (64, 64)) -> str:
    Image.new("RGB", size, colour).save(name)
    return name


def mask(name: str = "mask.png", size: tuple[int, int] = (64, 64)) -> str:
    image = Image.new("L", size, 0)
    image.paste(255, (0, 0, size[0] // 2, size[1] // 2))
    image.save(name)
    return name


def test_draw(loom: Callable[..., Done]) -> None:
    done = loom("draw", "一只红色的狐狸", "--style", "fluent", "--n", "4", "--seed", "7", "-o", "fox.png")
    assert (done.status, done.stderr) == (0, "")
    names = [f"fox-{i}.png" for i in range(1, 5)]
    assert done.stdout.splitlines() == [f"written to {name} (seed 7)" for name in names]
    pixels = [np.asarray(Image.open(name)) for name in names]
    assert {one.shape[:2] for one in pixels} == {(512, 512)}
    assert not np.array_equal(pixels[0], pixels[1])
    assert all(verify(Path(name)).ok for name in names)
    again = loom("draw", "一只红色的狐狸", "--style", "fluent", "--seed", "7", "-o", "again.png")
    assert again.status == 0
    assert np.array_equal(np.asarray(Image.open("again.png")), pixels[0]), "the same seed, the same picture"


def test_formats_sizes_and_the_judge(loom: Callable[..., Done]) -> None:
    for name, kind in (("a.webp", "WEBP"), ("a.jpg", "JPEG")):
        done = loom("draw", "a fox", "-o", name, "--size", "256", "--best-of", "3", "--json")
        facts = json.loads(done.stdout)
        assert facts["file"] == name
        assert -1 <= facts["score"] <= 1
        assert (Image.open(name).format, Image.open(name).width) == (kind, 256)


def test_a_file_is_overwritten_only_when_named(loom: Callable[..., Done]) -> None:
    for _ in range(2):
        assert loom("draw", "a fox", "--size", "64").status == 0
    assert sorted(p.name for p in Path().iterdir()) == ["drawing-2.png", "drawing.png"]
    assert loom("draw", "a fox", "-o", "drawing.png", "--size", "64").status == 0


def test_edit_restyle_and_describe(loom: Callable[..., Done]) -> None:
    source = picture("in.png", size=(100, 60))
    done = loom("edit", source, "--mask", mask(size=(100, 60)), "with a hat", "--seed", "1")
    assert done.stdout == "written to in-edit.png (seed 1)\n"
    kept = np.asarray(Image.open("in-edit.png").convert("RGBA"))
    assert kept[380, 250].tolist() == [255, 0, 0, 255], "what is not marked stays"
    assert kept[20, 250, 3] == 0, "a picture that is not square gets clear margins"
    assert loom("restyle", source, "--style", "twemoji", "--fit", "crop").stdout.startswith(
        "written to in-twemoji.png (seed "
    )
    said = loom("describe", source, "--lang", "zh", "--json")
    assert json.loads(said.stdout)["lang"] == "zh"
    assert loom("describe", source).stdout.count("\n") >= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["draw", "fox", "-o", "fox.gif"], "--output: found 'fox.gif'; a picture's file ends in .png, .webp"),
        (["draw", "fox", "-o", "no/fox.png"], "--output: found 'no/fox.png'; there is no folder no"),
        (["draw", "fox", "--size", "4096"], "size: found 4096; allowed: 64 to 1024"),
        (["draw", "fox", "--style", "oil"], "style: found 'oil'; allowed: fluent"),
        (["draw", " "], "prompt: it is empty"),
        (["draw", "fox", "--guidance", "99"], "guidance: found 99.0"),
        (["edit", "none.png", "hat"], "No such file"),
        (["edit", "in.png", "hat"], "--mask: missing"),
        (
            ["edit", "in.png", "hat", "--mask", "small.png"],
            "small.png: found 32 x 32 pixels; allowed: 64 x 64",
        ),
        (["restyle", "text.txt", "--style", "noto"], "text.txt: found no picture"),
        (["describe", "in.png", "--lang", "fr"], "lang: found 'fr'; allowed: en, zh"),
        (["describe", "in.png", "--fit", "squeeze"], "fit: found 'squeeze'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    loom: Callable[..., Done], words: list[str], message: str
) -> None:
    picture("in.png")
    mask("small.png", (32, 32))
    Path("text.txt").write_text("no picture")
    before = sorted(Path().iterdir())
    done = loom(*words)
    assert done.status == 1
    assert message in done.stderr
    assert done.stderr.startswith("loom: ")
    assert done.stderr.count("\n") == 1
    assert sorted(Path().iterdir()) == before, "nothing was left behind"


def test_each_model_does_its_own_work(loom: Callable[..., Done], smollm2: Path, painter: Path) -> None:
    done = loom("draw", "fox", "--model", str(smollm2), model=False)
    assert "draws no pictures and sees none" in done.stderr
    for words in (["chat", str(painter)], ["write", "Once", "--model", str(painter)]):
        done = loom(*words, model=False)
        assert done.status == 1
        assert "draws pictures and does not talk" in done.stderr


def test_models_tells_what_a_picture_model_does(loom: Callable[..., Done], painter: Path, home: Path) -> None:
    assert loom("pull", str(painter), "--name", "tiny", model=False).status == 0
    rows = [json.loads(line) for line in loom("models", "--json", model=False).stdout.splitlines()]
    row = next(row for row in rows if row["name"] == "tiny")
    assert row["abilities"] == ["draw", "edit", "restyle", "describe"]


def test_what_the_commands_share_is_said_once() -> None:
    """Every shared option has the same words, default and bounds in all three."""
    group = get_command(cli.app)
    commands = [group.commands[name] for name in ("draw", "edit", "restyle")]  # type: ignore[attr-defined]
    told = [{one.name: (one.opts, one.help, one.default) for one in command.params} for command in commands]
    for field in dataclasses.fields(How):
        assert told[0][field.name] == told[1][field.name] == told[2][field.name], field.name
    assert told[0]["best_of"] == told[1]["best_of"]
    assert (
        f"without it {DRAFTS}, of more than four pictures {MAX_CANDIDATES} in all." in told[2]["best_of"][1]
    )
    described = {one.name: one for one in group.commands["describe"].params}  # type: ignore[attr-defined]
    assert f"without it {DESCRIPTIONS}," in described["best_of"].help
    assert described["best_of"].max == MAX_DESCRIPTIONS
    assert {"strength", "fit"} <= told[1].keys() & told[2].keys()
    assert not {"strength", "fit", "how"} & told[0].keys()


def test_drawing_imports_nothing_that_it_does_not_need(painter: Path, tmp_path: Path) -> None:
    """PyTorch is for the codec; what else is heavy belongs to other commands."""
    heavy = ("transformers", "diffusers", "scipy", "fastapi", "pandas", "datasets", "llguidance", "uvicorn")
    code = (
        "import sys\nfrom tokenloom import cli\n"
        f"sys.argv = ['loom', 'draw', 'a fox', '-m', {str(painter)!r}, '-o', {str(tmp_path / 'fox.png')!r}]\n"
        f"cli.main.__globals__['app'](standalone_mode=False)\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "fox.png").is_file()
