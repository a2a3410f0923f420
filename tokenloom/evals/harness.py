"""Tasks of EleutherAI's lm-evaluation-harness on our own engine.

Not the tasks, their prompts or their metrics: those are the harness's. `Loom` answers its three kinds of
request (log-likelihood, rolling log-likelihood, generation) as its own `HFLM` does on transformers: context
and continuation are cut into tokens together, too long ones lose their beginning, and special tokens in a
task's text are taken for what they are.
Source: Gao et al., lm-evaluation-harness, https://github.com/EleutherAI/lm-evaluation-harness.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from tokenloom.engine.request import Sampling
from tokenloom.evals.ask import Pair, Progress, Scorer, Writer
from tokenloom.evals.interval import Interval, from_error

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from tokenloom.tokens.text import Tokenizer

MAX_TOKENS = 256
"""New tokens where a task names no number; as in HFLM."""
_SAMPLING = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "min_p": float,
    "typical_p": float,
    "repetition_penalty": float,
}
_IGNORED = frozenset({"do_sample"})


class Loom(TemplateLM):
    """The harness's language model over a `Scorer` and a `Writer`."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        scorer: Scorer,
        writer: Writer,
        *,
        max_length: int | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """max_length: positions that context and continuation may take; None = the model's context."""
        super().__init__()
        most = min(scorer.context, writer.context)
        if max_length is not None and not 1 <= max_length <= most:
            raise ValueError(f"max_length: found {max_length}; allowed: 1 to {most}, the model's context")
        self._own = tokenizer
        self._scorer = scorer
        self._writer = writer
        self.max_length = most if max_length is None else max_length
        self._seed = seed
        self._progress = progress

    @property
    def eot_token_id(self) -> int:
        if not self._own.eos_ids:
            raise ValueError(
                "tokenizer: has no end token, which the harness puts before a text without context"
            )
        return self._own.eos_ids[0]

    @property
    def prefix_token_id(self) -> int:
        return self.eot_token_id if self._own.bos_id is None else self._own.bos_id

    @property
    def tokenizer_name(self) -> str:
        return self._own.hash

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template's text, which the harness notes in its results."""
        template = self._own.template
        return template.source if chat_template and template is not None else ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        if self._own.template is None:
            raise ValueError("chat template: this model has none; leave --chat out")
        text = self._own.template.render(chat_history, add_generation_prompt=add_generation_prompt)
        if add_generation_prompt:
            return text
        # The last message is to be gone on with: what the template writes after it goes.
        last = chat_history[-1]["content"].strip()
        return text[: text.rindex(last) + len(last)]

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        ids = self._own.encode_control(string)
        if not self._own.add_bos or add_special_tokens is False:
            return ids
        given = add_special_tokens is None and ids[:1] == [self._own.bos_id]
        return ids if given else [self.prefix_token_id, *ids]

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **kwargs: Any,
    ) -> list[tuple[float, bool]]:
        pairs = [self._pair(context, continuation) for _, context, continuation in requests]
        out = [(found.total, found.greedy) for found in self._scorer.score(pairs, self._progress)]
        for (texts, _, _), answer in zip(requests, out, strict=True):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, answer)
        return out

    def _pair(self, context: Sequence[int], continuation: Sequence[int]) -> Pair:
        """Cut from the left to what the model holds; the last id of the continuation takes no position."""
        if len(continuation) > self.max_length:
            raise ValueError(
                f"continuation: {len(continuation)} tokens; the model holds {self.max_length} in all"
            )
        kept = min(len(context), self.max_length + 1 - len(continuation))
        return Pair(tuple(context[len(context) - kept :]), tuple(continuation))

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        windows: list[tuple[Any, list[int], list[int]]] = []
        counts: list[int] = []
        for request in requests:
            cut = [
                make_disjoint_window(window)
                for window in get_rolling_token_windows(
                    token_list=self.tok_encode(request.args[0]),
                    prefix_token=self.prefix_token_id,
                    max_seq_len=self.max_length,
                    context_len=1,
                )
            ]
            windows += [(None, context, continuation) for context, continuation in cut]
            counts.append(len(cut))
        scored = iter(self._loglikelihood_tokens(windows))
        out = [math.fsum(next(scored)[0] for _ in range(count)) for count in counts]
        for request, total in zip(requests, out, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return out

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        groups: dict[str, list[int]] = {}
        for at, request in enumerate(requests):
            groups.setdefault(repr(sorted(request.args[1].items(), key=str)), []).append(at)
        out = [""] * len(requests)
        for group in groups.values():
            options = requests[group[0]].args[1]
            max_tokens, stop, sampling = _options(options)
            room = self.max_length - max_tokens
            if room < 1:
                raise ValueError(
                    f"max_gen_toks: found {max_tokens}; allowed: less than the model's {self.max_length}"
                )
            prompts = [self._prompt(requests[at].args[0], room) for at in group]
            answers = self._writer.write(
                prompts,
                max_tokens=max_tokens,
                stop=stop,
                sampling=sampling,
                seed=self._seed,
                progress=self._progress,
            )
            for at, answer in zip(group, answers, strict=True):
                out[at] = answer[0].text
                self.cache_hook.add_partial("generate_until", requests[at].args, out[at])
        return out

    def _prompt(self, text: str, room: int) -> list[int]:
        return (self.tok_encode(text) or [self.prefix_token_id])[-room:]


def _options(options: Mapping[str, Any]) -> tuple[int, list[str], Sampling]:
    """A task's generation_kwargs: new tokens, stop texts, sampling. ValueError for one we do not know."""
    asked = dict(normalize_gen_kwargs(dict(options), MAX_TOKENS))
    max_tokens = int(asked.pop("max_gen_toks"))
    stop = [text for text in asked.pop("until") if text]
    if unknown := sorted(set(asked) - set(_SAMPLING) - _IGNORED):
        raise ValueError(
            f"generation_kwargs: found {', '.join(unknown)}; allowed: until, max_gen_toks, do_sample, "
            f"{', '.join(_SAMPLING)}"
        )
    values: dict[str, Any] = {name: kind(asked[name]) for name, kind in _SAMPLING.items() if name in asked}
    if not asked.get("do_sample"):
        values["temperature"] = 0.0
    return max_tokens, stop, Sampling(**values)


@dataclass(frozen=True, slots=True)
class TaskScore:
    """One number of one task."""

    task: str
    metric: str
    filter: str
    """The harness's name of how answers were cut out; none is "none"."""
    interval: Interval
    """From the harness's own standard error."""
    shots: int
    version: str

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        named = {"task": self.task, "metric": self.metric, "filter": self.filter}
        return {**named, **self.interval.facts(), "shots": self.shots, "version": self.version}


def task_scores(results: Mapping[str, Any]) -> list[TaskScore]:
    """What `lm_eval.simple_evaluate` answered, as scores."""
    out = []
    for task, values in results["results"].items():
        n = int(results.get("n-samples", {}).get(task, {}).get("effective", 0))
        for key, value in values.items():
            metric, _, cut = key.partition(",")
            if not cut or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = values.get(f"{metric}_stderr,{cut}")
            interval = from_error(float(value), error if isinstance(error, int | float) else None, n)
            shots = int(results.get("n-shot", {}).get(task, 0))
            version = str(results.get("versions", {}).get(task, ""))
            out.append(TaskScore(task, metric, cut, interval, shots, version))
    return out


def run_tasks(
    lm: Loom,
    tasks: Sequence[str],
    *,
    include: Path | None = None,
    shots: int | None = None,
    limit: int | None = None,
    chat: bool = False,
) -> list[TaskScore]:
    """Runs tasks by name.

    include: a folder of tasks of one's own (YAML), beside the harness's. shots: examples before each
    question; None = as the task says. limit: only so many questions. chat: questions go through the chat
    template. Examples are drawn with the harness's own seeds. ValueError names an unknown task.
    """
    from lm_eval import simple_evaluate

    manager = _manager(tasks, include)
    results = simple_evaluate(
        model=lm,
        tasks=list(tasks),
        task_manager=manager,
        num_fewshot=shots,
        limit=limit,
        apply_chat_template=chat,
        log_samples=False,
    )
    return task_scores(results)


def _manager(tasks: Sequence[str], include: Path | None) -> Any:
    """The harness's task manager; reading its thousands of tasks takes long, so only where one is needed."""
    from lm_eval.tasks import TaskManager

    if include is not None:
        if not include.is_dir():
            raise ValueError(f"include: {include} is no folder; needs one with tasks as YAML files")
        own = TaskManager(include_path=str(include), include_defaults=False)
        if all(own.match_tasks([task]) for task in tasks):
            return own
    manager = TaskManager(include_path=None if include is None else str(include))
    if unknown := [task for task in tasks if not manager.match_tasks([task])]:
        raise ValueError(f"task: found {', '.join(unknown)}, which the harness does not know")
    return manager
