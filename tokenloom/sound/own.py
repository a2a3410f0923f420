"""Voices that were trained here: models that speak in a codec's codes. Which there are, not what they do.

They are opened by tokenloom.engine.speaker, for a model needs an engine. They know the small domain they were
trained on; what is embedded (hibari) gives them their phonemes.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tokenloom import hub
from tokenloom.hub.card import card_of_folder
from tokenloom.sound.voices import VoiceInfo

ENGINE = "own"
CODEC = "sound"
"""The folder of the codec in that of a model that speaks."""
NOTE = "numbers, dates, times and short commands"


def speaks(folder: Path) -> bool:
    """Whether a model's path is that of one that speaks: a folder with a codec of sound in it."""
    return (folder / CODEC / "config.json").is_file()


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
