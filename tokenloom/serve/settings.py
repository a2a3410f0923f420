"""What the server is told: where it listens, which models it offers, who may ask, and how much.

Not the models' own settings; those are in engine.process and model.config.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

import tokenloom

LEAST = {"max_requests": 1, "requests_per_minute": 0, "concurrent_per_key": 0}


@dataclass(frozen=True)
class Settings:
    host: str = "127.0.0.1"
    """The address to listen on. Any but loopback requires keys."""
    port: int = 8117
    """0 = one that is free."""
    models: tuple[str, ...] = ()
    """Names, folders or GGUF files to offer; the first is loaded at once, the others at their first request.
    Empty = every model that is installed."""
    dtype: str = "auto"
    device: str = "auto"
    adapters: dict[str, dict[str, str]] = field(default_factory=dict)
    """Per model: {adapter's name: folder}. Offered as MODEL:ADAPTER."""
    api_keys: Path | None = None
    """A file with one key (or sha256:HEX) a line. Given = keys are required."""
    require_keys: bool = False
    """Ask for keys on loopback too."""
    upstream: str | None = None
    """Base URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1; models that are not local go
    there. Its key is read from TOKENLOOM_UPSTREAM_KEY."""
    allowed_hosts: tuple[str, ...] = ()
    """Further Host headers accepted on loopback, for a reverse proxy or a tunnel."""
    max_body_bytes: int = 8 * 2**20
    """Of a request's words; files come on top where a route takes them (serve.limits)."""
    fetch_images: bool = False
    """Read pictures in messages from outside addresses (http, https; public ones alone)."""
    max_prompt_tokens: int | None = None
    """None = the model's context."""
    max_requests: int = 256
    """Requests running and waiting together; more get a 429."""
    requests_per_minute: int = 0
    """Per key; 0 = no limit."""
    concurrent_per_key: int = 0
    """Requests of one key at a time; 0 = no limit."""
    grace_s: float = 20.0
    """How long SIGTERM waits for answers that are under way."""
    keepalive_s: float = 10.0
    """A waiting stream gets a comment line this often."""
    first_news_s: float = 1.0
    """A stream's status line is held back this long, so that an early error still becomes a status code."""
    load_wait_s: float = 30.0
    """How long a request waits for a model that loads at its first use before it gets a 503."""
    studio: Path = Path(tokenloom.__file__).parent / "studio"
    """Folder of the page served at /."""

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            found = getattr(self, name)
            if not (isinstance(found, int) and found >= least):
                raise ValueError(f"{name}: found {found!r}; allowed: a whole number of at least {least}")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
