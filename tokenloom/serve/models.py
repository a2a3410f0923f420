"""The models on offer: which names there are, loading them at first use, their tokenizers.

Not the memory they take; the engine's process admits and unloads.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tokenloom import __version__, hub
from tokenloom.engine.status import ModelInfo
from tokenloom.hub.card import card_of, composes, has_codec, speaks
from tokenloom.hub.pipeline import has_pipeline
from tokenloom.hub.sampling import recommended
from tokenloom.serve.bridge import Engine
from tokenloom.serve.errors import ApiError, bad_request
from tokenloom.serve.settings import Settings
from tokenloom.sound.own import ENGINE as OWN
from tokenloom.tasks.artist import Artist, Diffuser, open_artist, options
from tokenloom.tasks.music import Composer
from tokenloom.tasks.pictures import Painter
from tokenloom.tokens.image import STYLES
from tokenloom.tokens.text import Tokenizer, load_tokenizer

log = logging.getLogger(__name__)
RETRY_S = 2.0
EMBEDDED = "smollm2"
"""Answers where a request names no model and --model was not given."""
AGAIN_S = 1.0
"""A model that could not be loaded is tried again after this long, if it is asked for."""


class Place(Protocol):
    """What is read of a hub.Found."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...


@dataclass(frozen=True)
class Loaded:
    """A model that can be asked."""

    name: str
    """As the client calls it; MODEL:ADAPTER with an adapter."""
    base: str
    """As the engine calls it."""
    adapter: str | None
    tokenizer: Tokenizer
    context: int
    vocab_size: int
    fingerprint: str
    sampling: Mapping[str, float]
    """What its makers recommend."""
    painter: Painter | None = None
    """Of a picture model."""
    composer: Composer | None = None
    """Of a model of music."""

    def check_writes(self) -> None:
        """ApiError for a model of music, which writes no text."""
        if self.composer is not None:
            raise bad_request(
                f"model: {self.name} composes music and writes no text; ask /v1/audio/music", "model"
            )


@dataclass(frozen=True)
class Drawing:
    """A picture model of either kind that can be asked to draw."""

    name: str
    base: str
    artist: Artist


@dataclass
class _Entry:
    place: Place
    created: int = field(default_factory=lambda: int(time.time()))
    task: asyncio.Task[None] | None = None
    tokenizer: Tokenizer | None = None
    info: ModelInfo | None = None
    error: str | None = None
    failed_at: float | None = None
    sampling: Mapping[str, float] = field(default_factory=dict)
    draws: bool = False
    """It is a picture model."""
    diffuses: bool = False
    """It is a diffusion model, which draws and has no words."""
    artist: Artist | None = None
    composes: bool = False
    """It is a model of music."""
    speaks: bool = False
    """It is a voice, which reads texts aloud."""
    abilities: tuple[str, ...] = ()
    """What it does, as `loom models` lists it."""
    composer: Composer | None = None

    @classmethod
    def of(cls, place: Place) -> _Entry:
        diffuses = has_pipeline(place.path)
        known = hub.catalogue().get(place.name)
        return cls(
            place,
            sampling=recommended(place.name, place.path),
            draws=diffuses or has_codec(place.path),
            diffuses=diffuses,
            composes=composes(place.path),
            speaks=speaks(place.path),
            abilities=known.abilities if known else card_of(place.path).abilities,
        )

    @property
    def kind(self) -> str:
        """text, picture, music, or speech for a voice alone."""
        if self.draws or self.composes:
            return "picture" if self.draws else "music"
        return "speech" if self.speaks else "text"

    @property
    def state(self) -> str:
        if self.info is not None:
            return "ready"
        if self.error is not None:
            return "failed"
        return "waiting" if self.task is None else "loading"


class Models:
    """Names to models. Used from one event loop; loading runs in threads."""

    def __init__(
        self, engine: Engine | None, settings: Settings, find: Callable[[str], Place] = hub.find
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._fixed = bool(settings.models)
        places = [find(name) for name in settings.models] if engine is not None else []
        self._entries = {place.name: _Entry.of(place) for place in places}
        self._first: _Entry | None = None
        self.offered()

    def offered(self) -> Mapping[str, _Entry]:
        """Entries by name; where no names were given, whatever is installed now, and what is shipped."""
        if not self._fixed and self._engine is not None:
            for place in [*hub.installed(), *hub.shipped()]:
                if place.name not in self._entries:
                    self._entries[place.name] = _Entry.of(place)
        return self._entries

    def _ordered(self) -> list[str]:
        """As they were named; else the embedded model first, and last what could not be loaded and those that
        come with the package, which are for one task each."""
        entries = self.offered()
        if self._fixed:
            return list(entries)
        own = {one.name for one in hub.shipped()}
        return sorted(
            entries, key=lambda name: (name in own, entries[name].state == "failed", name != EMBEDDED)
        )

    def _general(self) -> list[str]:
        """The models that may answer words where none is named."""
        own = set() if self._fixed else {one.name for one in hub.shipped()}
        return [name for name in self._ordered() if name not in own and self._entries[name].kind == "text"]

    def painters(self) -> list[str]:
        """The picture models; the first draws where none is named. Those that see, too, come first."""
        found = [name for name in self._ordered() if self._entries[name].draws]
        return sorted(found, key=lambda name: self._entries[name].diffuses)

    def seers(self) -> list[str]:
        """The picture models that describe; the first does where none is named."""
        return [name for name in self.painters() if not self._entries[name].diffuses]

    def composers(self) -> list[str]:
        """The models of music; the first composes where none is named."""
        return [name for name in self._ordered() if self._entries[name].composes]

    async def default(self) -> str | None:
        """The model of a request that names none; None where none is on offer.

        Where no --model was given, one that cannot be loaded is passed over, unless none can be.
        """
        names = self._general()
        if self._fixed:
            return names[0] if names else None
        for name in names:
            if self._entries[name].info is not None:
                return name
            try:
                await self.get(name)
            except ApiError as error:
                if error.code == "model_load_failed":
                    continue
            return name
        return names[0] if names else None

    def names(self) -> list[str]:
        found = []
        for name in self._ordered():
            found.append(name)
            found += [f"{name}:{adapter}" for adapter in self._settings.adapters.get(name, {})]
        return found

    def start(self) -> None:
        """Begins to load the first model."""
        names = self._general() or ([*self.painters(), *self.composers()] if self._fixed else [])
        self._first = next((self._entries[name] for name in names), None)
        if self._first is not None:
            self._begin(self._first)

    @property
    def starting(self) -> bool:
        """The first model is still loading."""
        return self._first is not None and self._first.state == "loading"

    def states(self) -> dict[str, str]:
        return {name: entry.state for name, entry in self.offered().items()}

    def split(self, name: str) -> tuple[str, str | None] | None:
        """(model, adapter) of a name on offer, or None."""
        base, _, adapter = name.rpartition(":")
        if name in self.offered():
            return name, None
        if adapter in self._settings.adapters.get(base, {}) and base in self._entries:
            return base, adapter
        return None

    def unknown(self, name: str, others: list[str] | None = None) -> ApiError:
        known = ", ".join(self.names() + (others or [])) or "none"
        message = f"The model {name!r} is not offered here; there are: {known}. `loom pull` fetches others."
        return ApiError(404, message, param="model", code="model_not_found")

    def card(self, name: str) -> dict[str, Any]:
        """The model as GET /v1/models tells it."""
        found = self.split(name)
        if found is None:
            raise self.unknown(name)
        entry = self._entries[found[0]]
        card = {"id": name, "object": "model", "created": entry.created, "owned_by": "tokenloom"}
        card["state"] = entry.state
        card["kind"] = entry.kind
        card["abilities"] = list(entry.abilities)
        media = ["text", "image"] if entry.draws else ["text", "music"] if entry.composes else ["text"]
        made = ["image"] if entry.diffuses else ["music"] if entry.composes else media
        made = ["audio"] if entry.kind == "speech" else made
        card["modalities"] = {"input": media, "output": made}
        if entry.draws:
            card["styles"] = [] if entry.diffuses else list(STYLES)
        if entry.artist is not None:
            card["options"] = list(options(entry.artist))
        card["sampling"] = dict(entry.sampling)
        if entry.info is not None and not entry.diffuses:
            card["max_model_len"] = entry.info.context
        if entry.tokenizer is not None:
            card["chat"] = entry.tokenizer.template is not None
        if found[1] is not None:
            card["parent"] = found[0]
        return card

    async def get(self, name: str) -> Loaded:
        """The model, loaded; waits a while for one that loads at its first use.

        Raises ApiError 404 for a name that is not offered, 400 for a diffusion model or a voice, which have
        no words, 503 while it loads or where it cannot be loaded.
        """
        found = self.split(name)
        if found is None:
            raise self.unknown(name)
        base, adapter = found
        entry = self._entries[base]
        if entry.diffuses:
            message = f"model: {name} is a diffusion model, which draws alone; ask /v1/images/generations"
            raise bad_request(message, "model")
        if entry.kind == "speech":
            message = (
                f"model: {name} speaks and writes no text; ask /v1/audio/speech with the voice {OWN}:{base}"
            )
            raise bad_request(message, "model")
        if entry.info is None:
            await self._wait(entry)
        assert entry.tokenizer is not None
        assert entry.info is not None
        fingerprint = hashlib.sha256(f"{__version__} {name} {entry.tokenizer.hash}".encode()).hexdigest()
        return Loaded(
            name=name,
            base=base,
            adapter=adapter,
            tokenizer=entry.tokenizer,
            context=entry.info.context,
            vocab_size=entry.info.vocab_size,
            fingerprint=f"fp_{fingerprint[:12]}",
            sampling=entry.sampling,
            painter=entry.artist if isinstance(entry.artist, Painter) else None,
            composer=entry.composer,
        )

    async def composing(self, name: str) -> Loaded:
        """The model of music of a name, loaded, or the first where it is "". Errors as in `get`, and ApiError
        for a model that composes nothing."""
        names = self.composers()
        if not name and not names:
            message = "model: no composer is on offer; `loom models` lists those that compose"
            raise ApiError(404, message, param="model", code="model_not_found")
        model = await self.get(name or names[0])
        if model.composer is None:
            others = ", ".join(names) or "none is on offer"
            raise bad_request(f"model: {name} composes no music; composers: {others}", "model")
        return model

    async def drawing(self, name: str) -> Drawing:
        """The picture model of a name, loaded, or the first where it is "". Errors as in `get`, and ApiError
        for a model that draws nothing."""
        if not name:
            names = self.painters()
            if not names:
                message = "model: no picture model is on offer; `loom models` lists those that draw"
                raise ApiError(404, message, param="model", code="model_not_found")
            name = names[0]
        found = self.split(name)
        if found is None or not self._entries[found[0]].diffuses:
            model = await self.get(name)
            if model.painter is None:
                others = ", ".join(self.painters()) or "none is on offer"
                raise bad_request(
                    f"model: {name} draws no pictures and sees none; picture models: {others}", "model"
                )
            return Drawing(name, model.base, model.painter)
        entry = self._entries[found[0]]
        if entry.info is None:
            await self._wait(entry)
        assert isinstance(entry.artist, Diffuser)
        return Drawing(name, found[0], entry.artist)

    async def _wait(self, entry: _Entry) -> None:
        failed = entry.failed_at is not None
        lately = entry.failed_at is not None and time.monotonic() - entry.failed_at < AGAIN_S
        if entry.task is None or (entry.task.done() and not lately):
            self._begin(entry)
        assert entry.task is not None
        wait_s = self._settings.load_wait_s if failed or entry is not self._first else 0.0
        await asyncio.wait({entry.task}, timeout=wait_s)
        if entry.info is None and entry.error is not None:
            raise ApiError(
                503, f"{entry.place.name} cannot be loaded: {entry.error}", code="model_load_failed"
            )
        if entry.info is None:
            raise ApiError(
                503, f"{entry.place.name} is loading.", code="model_loading", retry_after_s=RETRY_S
            )

    def _begin(self, entry: _Entry) -> None:
        entry.error = None
        entry.task = asyncio.get_running_loop().create_task(self._load(entry))

    async def _load(self, entry: _Entry) -> None:
        place = entry.place
        try:
            if entry.draws:
                entry.artist = await asyncio.to_thread(open_artist, place.path, place.name)
            if entry.composes:
                entry.composer = await asyncio.to_thread(Composer.open, place.path, place.name)
            if not entry.diffuses:
                entry.tokenizer = await asyncio.to_thread(load_tokenizer, place.path)
            entry.info = await asyncio.to_thread(self._ask_engine, place)
        except (ValueError, OSError, RuntimeError) as error:
            entry.error, entry.failed_at = str(error), time.monotonic()
            log.error("%s cannot be loaded: %s", place.name, error)

    def _ask_engine(self, place: Place) -> ModelInfo:
        assert self._engine is not None
        return self._engine.load(
            place.name,
            str(place.path),
            dtype=self._settings.dtype,
            device=self._settings.device,
            adapters=self._settings.adapters.get(place.name),
        )

    async def close(self) -> None:
        """Waits for no load; what is loading is given up."""
        for entry in self._entries.values():
            if entry.task is not None:
                entry.task.cancel()
