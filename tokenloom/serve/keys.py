"""Who may ask. Keys are random, so a plain sha256 of each is what is kept; compared in constant time.

Kept in home()/keys.json (made by `new_key`), or given as a file with one key a line, or in the environment
variable TOKENLOOM_API_KEYS, separated by commas.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenloom.config import home
from tokenloom.serve.settings import Settings, is_loopback

ENVIRONMENT = "TOKENLOOM_API_KEYS"
SHORTEST = 16
HASHED = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Keys:
    """Hashes by the name their holder goes by in limits."""

    hashes: Mapping[str, str]

    def holder(self, key: str) -> str | None:
        """The name of the key's holder, or None. Looks at every hash, whichever matches."""
        asked = digest(key)
        found = None
        for name, known in self.hashes.items():
            if hmac.compare_digest(asked, known):
                found = name
        return found


def digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def keys_file() -> Path:
    return home() / "keys.json"


def new_key(name: str) -> str:
    """A new key, shown this once; only its hash is kept, in home()/keys.json."""
    if not name:
        raise ValueError("name: empty; say whose key it is")
    path = keys_file()
    known = _kept(path) if path.exists() else {}
    if name in known:
        raise ValueError(
            f"name: there is a key for {name!r} already; choose another name, or remove it from {path}"
        )
    key = "tl-" + secrets.token_urlsafe(32)
    _keep(path, {**known, name: digest(key)})
    return key


def remove_key(name: str) -> None:
    path = keys_file()
    known = _kept(path) if path.exists() else {}
    if name not in known:
        raise ValueError(f"name: no key for {name!r}; there are {', '.join(sorted(known)) or 'none'}")
    _keep(path, {other: value for other, value in known.items() if other != name})


def load_keys(settings: Settings) -> Keys | None:
    """The keys that are asked for; None where none are needed.

    Raises ValueError, saying how to make one, where keys are needed and there are none.
    """
    listed = [line for line in os.environ.get(ENVIRONMENT, "").split(",") if line.strip()]
    local = is_loopback(settings.host)
    if local and not (settings.require_keys or settings.api_keys or listed):
        return None
    hashes: dict[str, str] = {}
    if settings.api_keys:
        hashes |= _listed(_lines(settings.api_keys), str(settings.api_keys))
    hashes |= _listed(listed, ENVIRONMENT)
    if not hashes and keys_file().exists():
        hashes |= _kept(keys_file())
    if not hashes:
        why = "keys were asked for" if local else f"{settings.host} can be reached from other machines"
        raise ValueError(
            f"api keys: there are none, and {why}. Make a file with one key (at least {SHORTEST} characters) "
            f"a line and give it with --api-keys FILE, or set {ENVIRONMENT}, or listen on 127.0.0.1."
        )
    return Keys(hashes)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ValueError(
            f"--api-keys: there is no file {path}; make one, a key (at least {SHORTEST} characters) a line"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"--api-keys: {path} is not text in UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise ValueError(f"--api-keys: {path} cannot be read: {error.strerror}") from None


def _listed(lines: list[str], source: str) -> dict[str, str]:
    """{name: hash} of lines that are keys, or sha256:HEX; # starts a comment line."""
    found = {}
    for number, line in enumerate(lines, 1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        hashed = HASHED.fullmatch(key)
        if hashed is None and len(key) < SHORTEST:
            raise ValueError(
                f"{source}: key {number} has {len(key)} characters; at least {SHORTEST} are needed"
            )
        if any(character.isspace() for character in key):
            raise ValueError(f"{source}: key {number} holds a space; write one key a line")
        value = hashed[1] if hashed else digest(key)
        found[f"key-{value[:8]}"] = value
    return found


def _kept(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); restore it or remove it") from None
    if not isinstance(known, dict) or not all(
        isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) for value in known.values()
    ):
        raise ValueError(f"{path}: must hold names with sha256 hashes; restore it or remove it")
    return known


def _keep(path: Path, hashes: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".keys-")  # readable by the owner alone
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(dict(hashes), file, indent=1)
    os.replace(temporary, path)
