"""Packing: every target once an epoch, nothing leaks over a border, a batch is fixed by seed and step."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.data.pack import IGNORED, Batches, Rows, best_fit, pieces_of, sequential, shuffled
from tokenloom.data.shards import Shards, ShardWriter, open_shards

Place = tuple[int, int]
"""A document and a place in it."""


def make(
    folder: Path, lengths: Iterable[int], masked: bool = False, per_file: int = 50, first: int = 0
) -> Shards:
    """Documents whose ids tell where they stand: each id is used once."""
    count = itertools.count(first)
    with ShardWriter(
        folder, tokenizer_hash="a" * 64, vocab_size=1 << 20, masked=masked, tokens_per_file=per_file
    ) as w:
        for length in lengths:
            ids = [next(count) for _ in range(length)]
            w.add(ids, [id % 3 != 0 for id in ids] if masked else None)
    return open_shards(folder)


def expected(shards: Shards) -> Counter[tuple[int, int]]:
    """(id, next id) for each target that is to be learned."""
    pairs: Counter[tuple[int, int]] = Counter()
    for index in range(shards.n_documents):
        ids, learned = shards.document(index).tolist(), shards.learned(index)
        pairs.update((ids[t], ids[t + 1]) for t in range(len(ids) - 1) if learned is None or learned[t + 1])
    return pairs


def taught(batches: Iterable[Rows]) -> Counter[tuple[int, int]]:
    pairs: Counter[tuple[int, int]] = Counter()
    for rows in batches:
        where = rows.targets != IGNORED
        pairs.update(zip(rows.ids[where].tolist(), rows.targets[where].tolist(), strict=True))
    return pairs


def check_borders(rows: Rows, shards: Shards) -> None:
    """Each numbered part of a row is one run of one document; what follows the last is padding."""
    document_of = {
        int(id): index for index in range(shards.n_documents) for id in shards.document(index).tolist()
    }
    for ids, targets, documents in zip(rows.ids, rows.targets, rows.documents, strict=True):
        numbers = documents.tolist()
        assert numbers == sorted(numbers)
        assert sorted(set(numbers)) == list(range(max(numbers) + 1))
        for number in set(numbers):
            part = ids[documents == number].tolist()
            learned = targets[documents == number].tolist()
            if number == max(numbers) and set(part) == {0} and set(learned) == {IGNORED}:
                continue  # padding
            assert part == list(range(part[0], part[0] + len(part)))
            assert len({document_of[id] for id in part}) == 1
            following = [*part[1:], part[-1] + 1]
            assert all(t in (IGNORED, f) for t, f in zip(learned, following, strict=True))
            if document_of.get(part[-1] + 1) != document_of[part[-1]]:
                assert learned[-1] == IGNORED


lengths_ = st.lists(st.integers(1, 40), min_size=1, max_size=40).filter(lambda x: max(x) > 1)


@given(lengths_, st.integers(1, 17), st.integers(1, 5), st.booleans(), st.booleans(), st.integers(0, 99))
@settings(max_examples=120, deadline=None)
def test_every_target_is_learned_once_an_epoch(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    context: int,
    rows: int,
    pack: bool,
    masked: bool,
    seed: int,
) -> None:
    shards = make(tmp_path_factory.mktemp("p") / "s", lengths, masked, first=1)
    # As many steps as epochs make whole batches: then each target was taught `rows` times.
    batches = Batches([(shards, 1.0)], context=context, rows=rows, seed=seed, pack=pack)
    made = [batches.batch(step) for step in range(batches.n_rows)]
    once = expected(shards)
    assert taught(made) == Counter({pair: n * rows for pair, n in once.items()})
    for batch in made[:5]:
        assert batch.ids.shape == batch.targets.shape == batch.documents.shape == (rows, context)
        assert batch.ids.dtype == batch.targets.dtype == batch.documents.dtype == np.int64
        check_borders(batch, shards)
    order = list(sequential(shards, context, rows))
    assert taught(order) == once
    for batch in order:
        check_borders(batch, shards)
    flat = np.concatenate([b.ids[b.targets != IGNORED] for b in order])
    assert (np.diff(flat) > 0).all()  # in order
    assert all(len(batch.ids) == rows for batch in order[:-1])


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(30, 50), st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_best_fit_is_best_fit(lengths: list[int], context: int, seed: int) -> None:
    """The same number of rows and the same fillings as the plain algorithm, one piece at a time."""
    free: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [room for room in free if room >= length]
        room = min(fitting) if fitting else context
        if fitting:
            free.remove(room)
        free.append(room - length)
    array = np.array(lengths)
    rows, columns, n_rows = best_fit(array, context, shuffled(len(lengths), seed))
    fill = np.bincount(rows, weights=array, minlength=n_rows)
    assert sorted(context - fill) == sorted(free)
    taken = {(int(r), int(c) + k) for r, c, n in zip(rows, columns, lengths, strict=True) for k in range(n)}
    assert len(taken) == sum(lengths)
    assert all(c < context for _, c in taken)


def test_a_long_document_overlaps_by_one(tmp_path: Path) -> None:
    shards = make(tmp_path / "s", [9, 10, 2, 1], first=1)
    pieces = pieces_of(shards, 4)
    assert pieces.lengths.tolist() == [4, 4, 4, 4, 2, 2]  # of 9 the last piece would be its last id alone
    (rows,) = sequential(shards, 4, 8)
    assert rows.ids[1].tolist() == [5, 6, 7, 8]
    assert rows.targets[1].tolist() == [6, 7, 8, 9]
    assert rows.targets[0].tolist() == [2, 3, 4, 5]
    assert rows.ids[4].tolist() == [18, 19, 20, 21]
    assert rows.targets[4].tolist() == [19, IGNORED, 21, IGNORED]
    assert rows.documents[4].tolist() == [0, 0, 1, 1]


def test_sequential_of_some_documents(tmp_path: Path) -> None:
    shards = make(tmp_path / "s", [3, 3, 3], first=1)
    (rows,) = sequential(shards, 8, 4, documents=np.array([2, 0]))
    assert rows.ids.tolist() == [[7, 8, 9, 1, 2, 3, 0, 0]]
    assert rows.documents.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2]]


def test_without_packing_a_row_is_one_document(tmp_path: Path) -> None:
    shards = make(tmp_path / "s", [3, 5, 2, 7, 1], first=1)
    batches = Batches([(shards, 1.0)], context=8, rows=4, seed=3, pack=False)
    rows = batches.batch(0)
    assert batches.n_rows == 4
    assert sorted((rows.ids > 0).sum(1).tolist()) == [2, 3, 5, 7]
    assert set(rows.documents[:, 0].tolist()) == {0}
    assert rows.documents.max() == 1
    assert Batches([(shards, 1.0)], context=8, rows=4, seed=3).n_rows == 3


def test_a_run_that_goes_on_is_the_straight_run(tmp_path: Path) -> None:
    sets = [(make(tmp_path / str(i), range(1, 30), first=1000 * i), 1.0 + i) for i in range(2)]
    straight = Batches(sets, context=32, rows=5, seed=7)
    batches = [straight.batch(step) for step in range(40)]
    for start in (39, 17, 3):  # also backwards, over borders of epochs
        again = Batches(sets, context=32, rows=5, seed=7)
        for step in range(start, 40):
            rows = again.batch(step)
            for name in ("ids", "targets", "documents"):
                assert np.array_equal(getattr(rows, name), getattr(batches[step], name))
    other = Batches(sets, context=32, rows=5, seed=8)
    assert not np.array_equal(other.batch(0).ids, batches[0].ids)


def test_each_epoch_has_an_order_of_its_own(tmp_path: Path) -> None:
    batches = Batches([(make(tmp_path / "s", [5] * 200), 1.0)], context=16, rows=1, seed=0)
    n = batches.n_rows
    epochs = [[tuple(batches.batch(e * n + i).ids[0]) for i in range(n)] for e in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert set(epochs[0]) != set(epochs[1])  # also which documents share a row


def test_the_order_depends_on_nothing_but_the_seed() -> None:
    """Known values: they must be the same on every machine and with every version of numpy."""
    assert shuffled(8, 0).tolist() == [2, 4, 7, 0, 6, 5, 3, 1]
    assert shuffled(8, 1, 2, 3).tolist() == [5, 1, 6, 0, 7, 3, 4, 2]
    assert sorted(shuffled(1000, 5).tolist()) == list(range(1000))


def test_the_shares_are_those_asked_for(tmp_path: Path) -> None:
    firsts = [0, 10_000, 20_000]
    sets = [make(tmp_path / str(f), [7] * n, first=f) for f, n in zip(firsts, (300, 5, 60), strict=True)]
    batches = Batches([(sets[0], 0.5), (sets[1], 0.3), (sets[2], 0.2)], context=8, rows=10, seed=1)
    which = np.concatenate([batches.batch(step).ids[:, 0] // 10_000 for step in range(1200)])
    counts = np.bincount(which[:10_000]).tolist()
    assert counts == [5000, 3000, 2000]  # exact over a cycle
    for start in range(0, 12_000, 100):  # and near in each part of it
        assert abs((which[start : start + 100] == 0).mean() - 0.5) < 0.04
    # Within a set, too, all rows come once before any comes again.
    small = [int(batches.batch(s).ids[r, 0]) for s in range(10) for r in range(10) if which[s * 10 + r] == 1]
    assert all(len(set(small[i : i + 5])) == 5 for i in range(0, len(small) - 4, 5))


def test_shares_hold_over_cycles(tmp_path: Path) -> None:
    sets = [(make(tmp_path / str(f), [3] * 7, first=f), w) for f, w in ((0, 1), (1000, 2))]
    batches = Batches(sets, context=2, rows=999, seed=2)
    seen: Counter[int] = Counter()
    for step in range(21):
        seen.update(batches.batch(step).ids[:, 0].tolist())
    counts = [seen[id] for id in sorted(seen) if id < 1000]
    assert max(counts) - min(counts) <= 1  # no row is left out or told twice where a cycle ends


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"context": 0}, "context: found 0"),
        ({"rows": 0}, "rows: found 0"),
        ({"weights": (0.0, 1.0)}, "weights: found"),
        ({"weights": (1.0, float("nan"))}, "weights: found"),
        ({"weights": (1e-6, 1.0)}, "allowed: none below 1/10000 of their sum"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, options: dict, words: str) -> None:
    weights = options.pop("weights", (1.0, 1.0))
    sets = [(make(tmp_path / str(i), [4, 4]), w) for i, w in enumerate(weights)]
    with pytest.raises(ValueError, match=words):
        Batches(sets, **{"context": 8, "rows": 2, "seed": 0, **options})


def test_other_wrong_inputs(tmp_path: Path) -> None:
    first = make(tmp_path / "a", [4, 4])
    with pytest.raises(ValueError, match="found none; allowed: at least one set"):
        Batches([], context=8, rows=2, seed=0)
    with pytest.raises(ValueError, match="no document of two ids or more"):
        Batches([(make(tmp_path / "b", [1, 1]), 1.0)], context=8, rows=2, seed=0)
    with pytest.raises(ValueError, match="step: found -1"):
        Batches([(first, 1.0)], context=8, rows=2, seed=0).batch(-1)
    with ShardWriter(tmp_path / "c", tokenizer_hash="b" * 64, vocab_size=9) as writer:
        writer.add([1, 2])
    with pytest.raises(ValueError, match="allowed: one tokenizer for all"):
        Batches([(first, 1.0), (open_shards(tmp_path / "c"), 1.0)], context=8, rows=2, seed=0)


def test_packing_fills_rows(tmp_path: Path) -> None:
    lengths = np.random.default_rng(0).integers(10, 110, 3000)
    shards = make(tmp_path / "s", lengths, per_file=100_000)
    batches = Batches([(shards, 1.0)], context=256, rows=4, seed=0)
    assert batches.filled > 0.99
    assert batches.tokens_per_epoch == lengths.sum()
