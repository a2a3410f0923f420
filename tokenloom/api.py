"""The Python API: load a model, ask it for text. What `import tokenloom as tl` gives.

Synchronous and in this process: the caller's thread drives the engine's core, so a plain script stays a plain
script. The server runs the same core in a process of its own (engine.process).
"""

from __future__ import annotations

import functools
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from tokenloom import hub
from tokenloom.engine.request import Constraint, Delta, Request, Sampling, TokenLogprob, Usage
from tokenloom.hub.pipeline import has_pipeline
from tokenloom.step import Range, Row
from tokenloom.tokens.chat import encode_chat
from tokenloom.tokens.stream import Piece as Shown
from tokenloom.tokens.stream import TextStream
from tokenloom.tokens.text import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    import numpy as np

    from tokenloom.api_music import Composed, Music
    from tokenloom.api_pictures import Diffusion, Picture, Pictures
    from tokenloom.engine.core import Core
    from tokenloom.tasks.pictures import Described

Message = Mapping[str, Any]
"""An OpenAI-shaped message: {"role": "user", "content": "..."}."""
Prompt = str | Sequence[int]


@dataclass(frozen=True)
class Generation:
    """One finished answer."""

    text: str
    ids: tuple[int, ...]
    """The new ids (T,), without the id that ended it."""
    prompt_ids: tuple[int, ...]
    finish: str
    """stop: an end token, a stop string or a finished constraint; length: max_tokens or the context's end."""
    seed: int
    """With the same seed and prompt the same answer comes again."""
    timing: Usage
    logprobs: tuple[TokenLogprob, ...] = ()
    """One per id, when asked for."""
    prompt_logprobs: tuple[TokenLogprob | None, ...] = ()
    score: float | None = None
    """Beam search: summed log-probability / length ** length_penalty."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Piece:
    """Some more text of a streamed answer; the last one has `result`."""

    text: str
    choice: int = 0
    result: Generation | None = None


@dataclass
class _Open:
    """One choice that is being generated."""

    stream: TextStream | None
    """None where only ids are wanted."""
    prompt: tuple[int, ...]
    seed: int
    started: float = field(default_factory=time.monotonic)
    first: float | None = None
    text: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    prompt_logprobs: tuple[TokenLogprob | None, ...] = ()
    done: Generation | None = None


class GenerationError(RuntimeError):
    """The engine could not finish a request; the message says why."""


class Model:
    """A loaded model with its tokenizer. Calls from several threads are served together."""

    def __init__(self, name: str, path: Path, core: Core, tokenizer: Tokenizer) -> None:
        self.name = name
        self.path = path
        self.tokenizer = tokenizer
        self._core = core
        self._lock = threading.RLock()
        self._names = itertools.count()
        self._open: dict[str, dict[int, _Open]] = {}

    @property
    def folder(self) -> Path:
        """The folder that holds the model's files."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def context(self) -> int:
        """Positions that prompt and answer may take together."""
        return self._core.context

    def __repr__(self) -> str:
        return f"Model({self.name!r}, context={self.context}, path={str(self.path)!r})"

    # --- asking ---------------------------------------------------------------------------------------------

    @overload
    def generate(self, prompt: str, **options: Any) -> Generation: ...
    @overload
    def generate(self, prompt: Sequence[Prompt], **options: Any) -> list[Generation]: ...
    @overload
    def generate(self, prompt: Sequence[int], **options: Any) -> Generation: ...

    def generate(self, prompt: Prompt | Sequence[Prompt], **options: Any) -> Generation | list[Any]:
        """Continues a text.

        prompt: a text, a list of ids, or a list of either (they run together and a list comes back).
        options: those of `request`; with n > 1 each prompt answers with a list of n.
        """
        if not isinstance(prompt, Sequence):
            raise ValueError(
                f"prompt: found {type(prompt).__name__}; allowed is a text, ids, or a list of either"
            )
        many = not isinstance(prompt, str) and (len(prompt) == 0 or not isinstance(prompt[0], int))
        prompts = cast("Sequence[Prompt]", prompt) if many else [cast("Prompt", prompt)]
        answers = self._run([self._ids(one) for one in prompts], options)
        flat = [row[0] for row in answers] if options.get("n", 1) == 1 else answers
        return flat if many else cast("Generation", flat[0])

    def chat(
        self,
        messages: str | Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Generation:
        """Answers a conversation (a plain text is one user message), rendered by the model's own template.

        template: further variables for the chat template, such as {"enable_thinking": False}.
        """
        ids = self._chat_ids(messages, tools, template)
        return self._run([ids], options)[0][0]

    def stream(
        self,
        prompt: Prompt | Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Iterator[Piece]:
        """As `generate` (a text, ids) or `chat` (messages), piece by piece; closing it stops the answer."""
        if not isinstance(prompt, str) and prompt and isinstance(prompt[0], Mapping):
            ids = self._chat_ids(cast("Sequence[Message]", prompt), tools, template)
        else:
            ids = self._ids(cast("Prompt", prompt))
        return self._stream(ids, options)

    def task(self, name: str, /, lang: str = "en", **fields: Any) -> Generation | list[Generation]:
        """Runs a declared task: model.task("poem", poem="春江花月夜 五言绝句", seed=7).

        fields: those that tokenloom.tasks.tasks() declares; with n > 1 a list comes back. ValueError names
        the field at fault.
        """
        from tokenloom.tasks import build, run, tasks

        known = {name: task for name, task in tasks().items() if task.prompt}  # else it is of pictures
        if name not in known:
            raise ValueError(f"task: found {name!r}; allowed: {', '.join(known)}")
        answers = run(self, build(known[name], fields, lang))
        return answers[0] if len(answers) == 1 else answers

    @functools.cached_property
    def pictures(self) -> Pictures:
        """Drawing and seeing; ValueError where this is no picture model."""
        from tokenloom.api_pictures import Pictures

        return Pictures(self.name, self.folder, self.write)

    def draw(self, prompt: str, **options: Any) -> list[Picture]:
        """Pictures of these words; options: style, n, seed, best_of, guidance and more."""
        return self.pictures.draw(prompt, **options)

    def edit(self, image: Any, prompt: str, **options: Any) -> list[Picture]:
        """The picture, drawn anew as the words say where a mask is light, or clear."""
        return self.pictures.edit(image, prompt, **options)

    def restyle(self, image: Any, style: str, **options: Any) -> list[Picture]:
        """The picture in another style."""
        return self.pictures.restyle(image, style, **options)

    def describe(self, image: Any, lang: str = "en", **options: Any) -> Described:
        """What the picture shows, in "en" or "zh"."""
        return self.pictures.describe(image, lang=lang, **options)

    @functools.cached_property
    def music(self) -> Music:
        """Composing; ValueError where this is no composer."""
        from tokenloom.api_music import Music

        return Music(self.name, self.folder, self.write)

    def compose(self, words: str = "", **options: Any) -> Composed | list[Composed]:
        """A piece of these words; options: bars, key, seed and more; with n > 1 a list comes back."""
        made = self.music.compose(words, **options)
        return made[0] if len(made) == 1 else made

    def write(self, request: Request) -> list[tuple[int, ...]]:
        """The ids of each choice of an engine's request as it stands, but for its id."""
        name, rows = self._begin(request.replace(id=f"local-{next(self._names)}"), None)
        try:
            while any(row.done is None for row in rows.values()):
                self._step()
        finally:
            self._drop([name])
        return [cast("Generation", row.done).ids for row in rows.values()]

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """The model's raw scores (T, vocabulary) float32 for ids (T,)."""
        if not ids or len(ids) > self.context:
            raise ValueError(f"ids: {len(ids)} given, 1 to {self.context} allowed (the model's context)")
        with self._lock:
            slot = self._core.borrow_slot(len(ids))
            try:
                scores = self._core.runner.run([Row(slot, 0, list(ids), want=len(ids))])[0]
            finally:
                self._core.return_slot(slot)
        assert scores is not None
        return scores

    def request(
        self,
        ids: Sequence[int],
        *,
        max_tokens: int = 256,
        min_tokens: int = 0,
        temperature: float | None = None,
        top_k: int = 0,
        top_p: float | None = None,
        min_p: float = 0.0,
        typical_p: float = 1.0,
        repetition_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        logit_bias: Mapping[int, float] | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        stop_ids: Sequence[int] = (),
        ignore_eos: bool = False,
        n: int = 1,
        beams: int = 1,
        length_penalty: float = 1.0,
        guidance: float = 1.0,
        negative: Prompt = (),
        forced: Sequence[int] = (),
        allowed: Sequence[Range] | None = None,
        constraint: Constraint | None = None,
        logprobs: int | None = None,
        prompt_logprobs: int | None = None,
        adapter: str | None = None,
    ) -> tuple[Request, tuple[str, ...]]:
        """The engine's request for these options (engine.request says what each means), and the stop texts.

        max_tokens: new ids at most; a prompt that leaves less room gets what is left.
        temperature, top_p: 0.7 and 0.95 unless given; beam search draws nothing and takes neither.
        ignore_eos: the model's own end tokens do not end the answer.
        """
        if len(ids) >= self.context:
            raise ValueError(
                f"prompt: {len(ids)} tokens, but {self.name} holds {self.context} for prompt and answer"
            )
        if constraint is not None and not isinstance(constraint, Constraint):
            raise ValueError(
                f"constraint: found {type(constraint).__name__}; allowed is tokenloom.Constraint"
            )
        draws = beams == 1
        ends = () if ignore_eos else self.tokenizer.eos_ids
        request = Request(
            id=f"local-{next(self._names)}",
            model=self.name,
            ids=tuple(ids),
            max_tokens=min(max_tokens, self.context - len(ids)),
            sampling=Sampling(
                temperature=(0.7 if draws else 1.0) if temperature is None else temperature,
                top_k=top_k,
                top_p=(0.95 if draws else 1.0) if top_p is None else top_p,
                min_p=min_p,
                typical_p=typical_p,
                repetition_penalty=repetition_penalty,
                presence_penalty=presence_penalty,
                frequency_penalty=frequency_penalty,
                logit_bias=tuple((logit_bias or {}).items()),
            ),
            seed=secrets.randbits(31) if seed is None else seed,
            n=n,
            min_tokens=min_tokens,
            stop_ids=tuple(dict.fromkeys((*ends, *stop_ids))),
            beams=beams,
            length_penalty=length_penalty,
            guidance=guidance,
            negative=tuple(self._ids(negative)) if negative else (),
            forced=tuple(forced),
            allowed=None if allowed is None else tuple(allowed),
            constraint=constraint,
            logprobs=logprobs,
            prompt_logprobs=prompt_logprobs,
            adapter=adapter,
        )
        return request, (stop,) if isinstance(stop, str) else tuple(stop)

    def close(self) -> None:
        """Gives the memory back; the model cannot be used afterwards."""
        with self._lock:
            self._core.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- inside ---------------------------------------------------------------------------------------------

    def _ids(self, prompt: Prompt) -> list[int]:
        if not isinstance(prompt, Sequence):
            raise ValueError(f"prompt: found {type(prompt).__name__}; allowed is a text or a list of ids")
        ids = self.tokenizer.encode(prompt, bos=True) if isinstance(prompt, str) else list(prompt)
        if not ids:
            raise ValueError("prompt: empty; give at least one character or one id")
        return ids

    def _chat_ids(
        self,
        messages: str | Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        template: Mapping[str, Any] | None,
    ) -> list[int]:
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        return encode_chat(self.tokenizer, messages, tools=tools, **(template or {}))

    def _start(self, ids: Sequence[int], options: Mapping[str, Any]) -> tuple[str, dict[int, _Open]]:
        return self._begin(*self.request(ids, **options))

    def _begin(self, request: Request, stop: tuple[str, ...] | None) -> tuple[str, dict[int, _Open]]:
        """stop: texts that end an answer; None: its text is not wanted."""
        rows = {
            choice: _Open(
                None if stop is None else TextStream(self.tokenizer, stop), request.ids, request.seed
            )
            for choice in range(request.n)
        }
        with self._lock:
            self._core.add(request)
            self._open[request.id] = rows
        return request.id, rows

    def _run(self, prompts: Sequence[Sequence[int]], options: Mapping[str, Any]) -> list[list[Generation]]:
        started: list[tuple[str, dict[int, _Open]]] = []
        try:
            started = [self._start(ids, options) for ids in prompts]
            for _, rows in started:
                while any(row.done is None for row in rows.values()):
                    self._step()
        finally:
            self._drop([name for name, _ in started])
        return [[cast("Generation", row.done) for row in rows.values()] for _, rows in started]

    def _stream(self, ids: Sequence[int], options: Mapping[str, Any]) -> Iterator[Piece]:
        name, rows = self._start(ids, options)
        sent = dict.fromkeys(rows, 0)
        try:
            while len(sent):
                self._step()
                for choice in list(sent):
                    row = rows[choice]
                    text = "".join(row.text[sent[choice] :])
                    sent[choice] = len(row.text)
                    if row.done is not None:
                        del sent[choice]
                    if text or row.done is not None:
                        yield Piece(text, choice, row.done)
        finally:
            self._drop([name])

    def _drop(self, names: Sequence[str]) -> None:
        with self._lock:
            for name in names:
                rows = self._open.pop(name)
                if any(row.done is None for row in rows.values()):
                    self._core.abort(name)

    def _step(self) -> None:
        """One step of the engine on behalf of everyone who waits."""
        with self._lock:
            for delta in self._core.step():
                rows = self._open.get(delta.request)
                if rows is not None:
                    self._take(rows, delta)

    def _take(self, rows: dict[int, _Open], delta: Delta) -> None:
        row = rows[delta.choice]
        if row.done is not None:
            return
        if delta.finish == "error":
            raise GenerationError(delta.error)
        row.prompt_logprobs = row.prompt_logprobs or delta.prompt
        if delta.ids and row.first is None:
            row.first = time.monotonic()
        piece = Shown("", len(delta.ids)) if row.stream is None else row.stream.push(delta.ids)
        row.ids += delta.ids[: piece.n_ids]
        row.logprobs += delta.logprobs[: piece.n_ids]
        row.text.append(piece.text)
        if piece.stopped is not None and delta.finish is None:
            row.done = self._finish(row, "stop", None)
            if all(other.done is not None for other in rows.values()):
                self._core.abort(delta.request)
        elif delta.finish is not None:
            row.text.append("" if row.stream is None else row.stream.finish().text)
            row.done = self._finish(row, "stop" if piece.stopped is not None else delta.finish, delta)

    def _finish(self, row: _Open, finish: str, delta: Delta | None) -> Generation:
        return Generation(
            text="".join(row.text),
            ids=tuple(row.ids),
            prompt_ids=row.prompt,
            finish=finish,
            seed=row.seed,
            timing=self._timing(row, delta),
            logprobs=tuple(row.logprobs),
            prompt_logprobs=row.prompt_logprobs,
            score=delta.score if delta is not None else None,
        )

    @staticmethod
    def _timing(row: _Open, delta: Delta | None) -> Usage:
        """The engine's account; where a stop text ended the answer before the engine knew, this side's."""
        if delta is not None and delta.usage is not None:
            return delta.usage
        now = time.monotonic()
        first = now if row.first is None else row.first
        return Usage(len(row.prompt), 0, len(row.ids), 0.0, first - row.started, now - row.started)


def load(
    name: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    slots: int | None = None,
    adapters: Mapping[str, str] | None = None,
    speculate: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Model:
    """Loads a model: a catalogue name, a Hub name, a folder in the Hub's layout, or a GGUF file.

    A catalogue or Hub name that is not here yet is fetched first (`progress` is told bytes done and in all).
    dtype: auto, float32, bfloat16 or float16; device: auto, cpu, cuda. slots: sequences that run together.
    adapters: {name: folder of a LoRA adapter}, chosen per request. speculate: ids guessed ahead where the
    text repeats, which never changes the answer; 0 = none. A folder of diffusers is loaded with
    `load_diffusion`.
    """
    from tokenloom.engine.load import open_core

    try:
        found = hub.find(str(name))
    except hub.NotInstalled:
        found = hub.pull(str(name), progress)
    if has_pipeline(found.path):
        raise ValueError(
            f"model: {found.name} is a diffusion model, which writes no text; load it with "
            "tokenloom.api.load_diffusion, or ask it with `loom draw` and `loom edit`"
        )
    options: dict[str, Any] = {} if slots is None else {"n_slots": slots}
    core = open_core(
        found.path,
        dtype=dtype,
        device=device,
        adapters=dict(adapters or {}),
        speculate=speculate,
        **options,
    )
    return Model(found.name, found.path, core, load_tokenizer(found.path))


def load_diffusion(
    name: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    progress: Callable[[int, int | None], None] | None = None,
) -> Diffusion:
    """Loads a diffusion model: a Hub name or a folder of the diffusers library, as `load` does others.

    dtype: auto is bfloat16 on CUDA and float32 elsewhere. ValueError where diffusers is missing; the message
    says how it is installed.
    """
    from tokenloom.api_pictures import Diffusion

    try:
        found = hub.find(str(name))
    except hub.NotInstalled:
        found = hub.pull(str(name), progress)
    return Diffusion(found.name, found.path, dtype=dtype, device=device)
