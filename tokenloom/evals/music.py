"""How well a composer foretells tunes, and whether what it composes is what was asked.

Not a judgement of beauty. Foretelling is nats for each event of the bars, the head given, beside an n-gram
model that is counted over the same events of the training tunes, each once. Of composed tunes: the share in
the asked key (the likeliest of tokens.music_key, which is not right for every real tune either: that is
stated beside it), in the asked metre, with the asked number of whole bars; the overlap of what pitches and
durations they have with those of real tunes; and the longest run of notes that stands in a training tune,
in whatever key.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import numpy as np

from tokenloom.data.tune_set import Split, intervals
from tokenloom.data.tunes import Tune
from tokenloom.engine.core import Core
from tokenloom.engine.drafts import keep
from tokenloom.engine.request import Constraint, Request, Sampling
from tokenloom.evals.ask import ModelFailed, Pair
from tokenloom.evals.interval import Interval, mean, ratio
from tokenloom.evals.ngram import KneserNey, count
from tokenloom.evals.open import Opened
from tokenloom.evals.score import StepScorer
from tokenloom.sound.keys import fifths_of, pitch_class
from tokenloom.sound.score import Score
from tokenloom.tokens.music import MusicTokens
from tokenloom.tokens.music_key import in_key, key_of, pitch_classes, same_key, same_signature
from tokenloom.tokens.music_walk import HEAD
from tokenloom.tokens.music_wish import Wish

BEFORE = len(HEAD) + 2
"""Ids before the bars: <|compose|>, the head, <|music|>."""
FALLBACK = (0.5, 1.0, 1.5)
"""Discounts of an order of n-grams that has too few to tell them."""


def fit_tunes(scorer: StepScorer, tunes: Sequence[Tune], tokens: MusicTokens) -> Interval:
    """Nats for each id of the bars and their end; intervals by drawing tunes anew."""
    rows = [tuple(tokens.ids_of(tune.score)) for tune in tunes]
    scored = scorer.score([Pair(row[:BEFORE], row[BEFORE:]) for row in rows])
    return ratio([-one.total for one in scored], [len(row) - BEFORE for row in rows])


def count_tunes(tunes: Sequence[Tune], tokens: MusicTokens, n: int = 5) -> KneserNey:
    """The n-grams of tunes, each once; n-grams of events do not depend on a tune's key."""
    return count([np.array(tokens.ids_of(tune.score)) for tune in tunes], tokens.vocabulary.size, n, FALLBACK)


def fit_ngrams(model: KneserNey, tunes: Sequence[Tune], tokens: MusicTokens) -> Interval:
    """As `fit_tunes`, of the n-gram model."""
    rows = [np.array(tokens.ids_of(tune.score)) for tune in tunes]
    scored = model.score(rows)
    return ratio([-one[BEFORE:].sum() for one in scored], [len(row) - BEFORE for row in rows])


# --- what is composed ---------------------------------------------------------------------------------------


def wishes(tunes: Sequence[Tune], n: int, seed: int) -> list[Wish]:
    """n wishes for kind, metre, key and whole bars as real tunes have them, of tunes that have a kind."""
    rng = Random(seed)
    named = [tune.score for tune in tunes if tune.score.kind]
    found = []
    for _ in range(n):
        score = rng.choice(named)
        _, tonic, mode = score.keys[0]
        bars = len(score.bars) - bool(score.pickup)
        found.append(Wish(score.kind, score.metres[0][1:], mode, tonic, bars=min(bars, 32)))
    return found


@dataclass(frozen=True)
class Shares:
    """What holds of composed tunes. Each is a share of them."""

    key: Interval
    """The likeliest key is the asked one."""
    signature: Interval
    """It has the asked one's accidentals: a relative key counts."""
    key_by_chance: float
    """The likeliest key is what another wish asked for."""
    key_of_real: Interval
    """Real tunes whose likeliest key is the written one."""
    signature_of_real: Interval
    scale: Interval
    """Share of the time in which a degree of the asked key's scale sounds."""
    scale_of_real: Interval
    metre: Interval
    bars: Interval
    """There are as many whole bars as asked, each filled to its end and with a note."""
    pitches: float
    """Overlap with real tunes of how long each degree above the tonic sounds."""
    durations: float
    """Overlap with real tunes of how often each duration comes."""
    verbatim: Interval
    """Notes of the longest run that stands in a training tune, as a share of the tune's notes."""
    longest: int
    """Notes of the longest of all those runs."""
    verbatim_of_real: Interval
    """The same of held-out tunes: what any tune has in common with others."""

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            name: value.facts() if isinstance(value, Interval) else value
            for name, value in vars(self).items()
        }


def judge(asked: Sequence[Wish], made: Sequence[Score], real: Split) -> Shares:
    """asked, made (N,): wishes with key, metre and bars, and what came of each. ValueError where none is."""
    if not asked or len(asked) != len(made):
        raise ValueError(
            f"made: found {len(made)} tunes for {len(asked)} wishes; allowed: as many, 1 or more"
        )
    held = [tune.score for tune in real.held]
    wanted = [(str(wish.tonic), str(wish.mode)) for wish in asked]
    found = [key_of(score)[0] for score in made]
    written = [score.keys[0][1:] for score in held]
    told = [key_of(score)[0] for score in held]
    runs = longest_runs(made, [tune.score for tune in real.train])
    real_runs = longest_runs(held, [tune.score for tune in real.train])
    return Shares(
        key=_share(map(same_key, found, wanted)),
        signature=_share(map(same_signature, found, wanted)),
        key_by_chance=float(np.mean([same_key(a, b) for a in found for b in wanted])),
        key_of_real=_share(map(same_key, told, written)),
        signature_of_real=_share(map(same_signature, told, written)),
        scale=mean(list(map(_in_scale, made, wanted))),
        scale_of_real=mean(list(map(_in_scale, held, written))),
        metre=_share(
            s.metres[0][1:] == w.metre and len(s.metres) == 1 for s, w in zip(made, asked, strict=True)
        ),
        bars=_share(w.bars == whole_bars(s) for s, w in zip(made, asked, strict=True)),
        pitches=overlap(_degrees(made), _degrees(held)),
        durations=overlap(_durations(made), _durations(held)),
        verbatim=mean([run / notes for run, notes in zip(runs, _sizes(made), strict=True)]),
        longest=max(runs),
        verbatim_of_real=mean([run / notes for run, notes in zip(real_runs, _sizes(held), strict=True)]),
    )


def whole_bars(score: Score) -> int:
    """Bars with a note of the metre's length, but for the pickup; -1 where a bar is irregular or empty."""
    bars = score.bars[bool(score.pickup) :]
    notes = score.tracks[0].notes
    sounding = all(any(note.start < stop and note.stop > start for note in notes) for start, stop in bars)
    return len(bars) if sounding and len(score.metres) == 1 and score.length <= bars[-1][1] else -1


def longest_runs(scores: Sequence[Score], texts: Sequence[Score]) -> list[int]:
    """Of each melody the notes of its longest run of intervals and durations that one of the texts has."""
    from tokenloom.evals.copied import longest_runs as runs

    letters: dict[Hashable, str] = {}

    def spelled(score: Score) -> str:
        notes = score.tracks[0].notes
        steps = [(b.pitch - a.pitch, b.start - a.start) for a, b in itertools.pairwise(notes)]
        return "".join(letters.setdefault(step, chr(0x4E00 + len(letters))) for step in steps)

    answers = [spelled(score) for score in scores]
    found = runs(answers, ((str(at), spelled(score)) for at, score in enumerate(texts)))
    return [run.length + 1 for run in found]


def overlap(one: Counter[Any], other: Counter[Any]) -> float:
    """The common area of two histograms as shares: 1 where they are the same."""
    a, b = sum(one.values()), sum(other.values())
    if not a or not b:
        raise ValueError("histograms: found an empty one; allowed: counts of something")
    return float(sum(min(one[key] / a, other[key] / b) for key in one.keys() | other.keys()))


def _in_scale(score: Score, key: tuple[str, str]) -> float:
    """A signature's seven pitch classes are a row of fifths, from a fifth below its major tonic."""
    scale = {(7 * (fifths_of(*key) + step)) % 12 for step in range(-1, 6)}
    sounding = pitch_classes(score)
    return float(sum(sounding[number] for number in scale) / sounding.sum())


def _share(held: Iterable[bool]) -> Interval:
    return mean([float(one) for one in held])


def _degrees(scores: Sequence[Score]) -> Counter[int]:
    found: Counter[int] = Counter()
    for score in scores:
        tonic = pitch_class(score.keys[0][1])
        for note in score.tracks[0].notes:
            found[(note.pitch - tonic) % 12] += note.duration
    return found


def _durations(scores: Sequence[Score]) -> Counter[int]:
    return Counter(note.duration for score in scores for note in score.tracks[0].notes)


def _sizes(scores: Sequence[Score]) -> list[int]:
    return [len(score.tracks[0].notes) for score in scores]


def composed(
    core: Core,
    tokens: MusicTokens,
    asked: Sequence[Wish],
    sampling: Sampling,
    seed: int = 1,
    drafts: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Score]:
    """A tune for each wish, of the seeds from `seed` on, by a core that nobody else uses meanwhile.

    drafts: of each tune, of which one in the asked key is kept. ModelFailed where an answer breaks off.
    """
    asks = [tokens.compose(wish) for wish in asked]
    for at, ask in enumerate(asks):
        core.add(
            Request(
                f"tune-{at}",
                "evals",
                ask.ids,
                ask.max_tokens,
                sampling,
                seed + at,
                n=drafts,
                stop_ids=ask.stop_ids,
                constraint=Constraint("music", ask.rules),
            )
        )
    answers: dict[tuple[str, int], list[int]] = {
        (f"tune-{at}", draft): [] for at in range(len(asks)) for draft in range(drafts)
    }
    left = len(answers)
    while left:
        for delta in core.step():
            if (delta.request, delta.choice) not in answers:
                continue
            answers[delta.request, delta.choice] += delta.ids
            if delta.finish is not None:
                if delta.finish != "stop":
                    raise ModelFailed(f"{delta.request} ended by {delta.finish}: {delta.error}")
                left -= 1
                if progress is not None:
                    progress((len(answers) - left) // drafts, len(asks))
    made = []
    for at, (wish, ask) in enumerate(zip(asked, asks, strict=True)):
        mark = partial(in_key, key=(str(wish.tonic), str(wish.mode)))
        scores = [tokens.score(ask, answers[f"tune-{at}", draft]) for draft in range(drafts)]
        (kept,) = keep(drafts, mark, scores)
        made.append(scores[kept])
    return made


def report(
    opened: Opened,
    real: Split,
    tokens: MusicTokens,
    sampling: Sampling,
    *,
    n: int = 200,
    seed: int = 1,
    drafts: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Any], list[tuple[Wish, Score]]]:
    """All figures as JSON holds them, and n composed tunes with their wishes, as of held-out tunes.

    drafts: of each tune, as `composed` takes them.
    """
    model, grams = fit_tunes(opened.scorer, real.held, tokens), count_tunes(real.train, tokens)
    baseline = fit_ngrams(grams, real.held, tokens)
    asked = wishes(real.held, n, seed)
    made = composed(opened.core, tokens, asked, sampling, seed, drafts, progress)
    facts = {
        "held_out": {
            "tunes": len(real.held),
            "nats_per_event": model.facts(),
            "five_gram": baseline.facts(),
            "ratio": model.value / baseline.value,
        },
        "composed": {"n": n, "drafts": drafts, **judge(asked, made, real).facts()},
        "different": len({intervals(score) for score in made}) / n,
    }
    return facts, list(zip(asked, made, strict=True))
