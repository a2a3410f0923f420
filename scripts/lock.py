"""Writes requirements.txt and requirements-dev.txt from what is installed here: exact versions, no hashes.

torch is left out: its build (CPU, CUDA) is the machine's choice, so the Makefile installs it first, from the
index the user names.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def closure(package: str, extras: set[str]) -> dict[str, str]:
    """Every installed distribution that `package` with these extras needs, as {name: version}."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(package, extra) for extra in ("", *extras)]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        dist = metadata.distribution(name)
        found[canonicalize_name(name)] = dist.version.split("+")[0]
        for line in dist.requires or []:
            need = Requirement(line)
            if need.marker and not need.marker.evaluate({"extra": extra}):
                continue
            child = canonicalize_name(need.name)
            todo += [(child, "")] + [(child, e) for e in need.extras]
    return found


def write(path: Path, pins: dict[str, str], head: str) -> None:
    lines = [f"# {head}\n", *(f"{name}=={version}\n" for name, version in sorted(pins.items()))]
    path.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    root = Path(__file__).parent.parent
    runtime = closure("tokenloom", {"data", "train", "eval", "sound"})
    dev = closure("tokenloom", {"data", "train", "eval", "sound", "harness", "dev"})
    for pins in (runtime, dev):
        pins.pop("tokenloom")
        for name in [n for n in pins if n == "torch" or n.startswith("nvidia-") or n == "triton"]:
            pins.pop(name)
    write(root / "requirements.txt", runtime, "What Tokenloom runs on; made by scripts/lock.py")
    extra = {name: version for name, version in dev.items() if name not in runtime}
    write(root / "requirements-dev.txt", extra, "What its tests need besides; made by scripts/lock.py")
    print(f"{len(runtime)} runtime and {len(extra)} development packages", file=sys.stderr)


if __name__ == "__main__":
    main()
