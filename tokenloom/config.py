"""Where Tokenloom keeps what it fetched. Not the recipe of a run, and not a model's config.

The place is the folder named by the environment variable TOKENLOOM_HOME, else `~/.tokenloom`.
"""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Tokenloom's own folder, absolute; read from the environment at each call, not created."""
    named = os.environ.get("TOKENLOOM_HOME", "")
    return Path(named).expanduser().absolute() if named else Path.home() / ".tokenloom"


def models_home() -> Path:
    """`home()/models`: one folder per model."""
    return home() / "models"
