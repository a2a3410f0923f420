"""The sampling that a model's makers recommend. Not what a request asks for; that wins.

Sources: generation_config.json of a Hub folder (transformers' file), else the catalogue's entry.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path

from tokenloom.hub.entries import catalogue

log = logging.getLogger("tokenloom")

ALLOWED = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "top_k": (0, 2**31),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.0, 10.0),
    "guidance_scale": (0.0, 20.0),
}
"""What is read, and from where to where it may lie."""
ABOVE_ZERO = ("top_p", "repetition_penalty")


def is_sampling(name: str, value: object) -> bool:
    """Whether a recommended value is one of these and can be followed."""
    if name not in ALLOWED or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low, high = ALLOWED[name]
    whole = name != "top_k" or isinstance(value, int)
    return math.isfinite(value) and low <= value <= high and whole and (value > 0 or name not in ABOVE_ZERO)


def recommended(name: str, path: Path) -> dict[str, float]:
    """The recommended sampling of an installed model by its name and place; {} where nobody said any."""
    file = path / "generation_config.json"
    if path.is_dir() and file.is_file() and (found := _generation_config(file)):
        return found
    entry = catalogue().get(name)
    return dict(entry.sampling) if entry else {}


def _generation_config(file: Path) -> dict[str, float]:
    try:
        config = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s cannot be read (%s); its sampling is not used", file, error)
        return {}
    if not isinstance(config, Mapping) or config.get("do_sample", True) is not True:
        return {}
    found = {}
    for name in ALLOWED:
        value = config.get(name)
        if value is None:
            continue
        if is_sampling(name, value):
            found[name] = value
        else:
            log.warning("%s: %s is %r, which cannot be followed; it is left out", file, name, value)
    return found
