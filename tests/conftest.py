"""What every test shares: no network, a home of its own, one thread per worker, the embedded model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from real_home import REAL_HOME

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary TOKENLOOM_HOME, so that no test reads or writes the user's."""
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setenv("TOKENLOOM_HOME", str(place))
    return place


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The embedded model's GGUF file, as `make setup` leaves it."""
    found = sorted((REAL_HOME / "models" / "smollm2").glob("*.gguf"))
    if not found:
        pytest.fail("the embedded model is missing: run `make setup` first")
    return found[0]
