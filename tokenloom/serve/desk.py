"""What every route is handed: the engine, the models, the limits, the figures. Made once per app."""

from __future__ import annotations

from dataclasses import dataclass

from tokenloom.serve.bridge import Engine
from tokenloom.serve.limits import Queue
from tokenloom.serve.metrics import Metrics
from tokenloom.serve.models import Models
from tokenloom.serve.settings import Settings
from tokenloom.serve.upstream import Upstream


@dataclass(frozen=True)
class Desk:
    settings: Settings
    engine: Engine | None
    """None where everything goes upstream."""
    models: Models
    queue: Queue
    metrics: Metrics
    upstream: Upstream | None = None
