"""The house rules: a file imports only from rooms above its own, and light rooms stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "tokenloom"
# fmt: off
ROOMS = [
    "version", "step", "config", "weights", "hub", "model", "native", "codec", "privacy", "sound", "tokens",
    "engine", "data", "train", "evals", "explain", "trust", "tasks", "api_pictures", "api_music", "api",
    "serve", "studio", "bench", "terminal", "cli",
]
# fmt: on
FORBIDDEN = {("serve", "train"), ("serve", "data")}


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of this package that a file imports at run time, at its head or inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(ast.walk(node))
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "tokenloom":
                found |= {alias.name for alias in node.names}
            elif node.module and node.module.startswith("tokenloom."):
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("tokenloom.")}
    return found & set(ROOMS)


FILES = [path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"]


def test_the_walk_sees_the_house() -> None:
    assert {room(path) for path in FILES} <= set(ROOMS)
    assert len(FILES) > 30


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_from_rooms_above(path: Path) -> None:
    own = room(path)
    for other in imported_rooms(path):
        assert ROOMS.index(other) <= ROOMS.index(own), f"{own} imports {other}, which lies below it"
        assert (own, other) not in FORBIDDEN


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("tokenloom", {"torch", "fastapi", "transformers", "numpy"}),
        ("tokenloom.cli", {"torch", "fastapi", "transformers", "llguidance"}),
        ("tokenloom.hub", {"torch"}),
        ("tokenloom.weights.gguf", {"torch", "gguf"}),
        ("tokenloom.sound.score", {"torch", "numpy", "symusic"}),
        ("tokenloom.tokens.text", {"torch"}),
        ("tokenloom.engine.scheduler", {"torch", "numpy"}),
        ("tokenloom.engine.core", {"torch", "llguidance"}),
        ("tokenloom.api", {"torch", "llguidance", "fastapi"}),
        ("tokenloom.serve.app", {"torch"}),
    ],
)
def test_light_rooms_stay_light(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    if module == "tokenloom.engine.scheduler":  # the contract's step.py names numpy's types
        out = out.replace("numpy", "")
    assert out.strip() == "", f"{module} imports {out}"
