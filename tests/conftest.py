"""What every test shares: no network, a home of its own, one thread per worker, the embedded model, and that
it goes the same way each time: seeds are set before each test, examples are those of the test's name, and no
example has a time limit. HYPOTHESIS_PROFILE=explore looks for other examples."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from real_home import REAL_HOME

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

hypothesis.settings.register_profile("steady", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes have no place in a test's name: packed ones may hold the time, and workers must agree on it."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before a test's fixtures: what it draws does not depend on the tests that ran before in its process."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


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
