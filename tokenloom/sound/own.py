"""Voices that were trained here: models that speak in a codec's codes. Which there are, not what they do.

They are opened by tokenloom.engine.speaker, for a model needs an engine. They know the small domain they were
trained on; what is embedded (hibari) gives them their phonemes.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tokenloom import hub
from tokenloom.hub.card import card_of_folder, speaks
from tokenloom.sound.voices import VoiceInfo

ENGINE = "own"
NOTE = "numbers, dates, times and short commands"


def known(folder: Path) -> list[VoiceInfo]:
    """The models here that speak, by name; none without the package that gives phonemes. folder: not looked
    at."""
    if find_spec("hibari") is None:
        return []
    found = {one.name: one.path for one in [*hub.shipped(), *hub.installed()] if speaks(one.path)}
    return [
        VoiceInfo(f"{ENGINE}:{name}", ENGINE, ("en",), card_of_folder(path).licence, NOTE)
        for name, path in sorted(found.items())
    ]
