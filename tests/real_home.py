"""Where the user's own Tokenloom home is, looked up before any test changes the environment."""

from __future__ import annotations

import os
from pathlib import Path

REAL_HOME = Path(os.environ.get("TOKENLOOM_HOME") or Path.home() / ".tokenloom")
