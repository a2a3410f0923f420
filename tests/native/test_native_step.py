"""The whole native step: against PyTorch on the same weights, its laws bit for bit, and what it refuses."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_fixtures import SMALL, small_llama, small_weights, write_gguf
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.engine.load import prepare
from tokenloom.engine.process import EngineProcess
from tokenloom.engine.request import Delta, Request, Sampling
from tokenloom.model.load import load_model
from tokenloom.model.read import read_config
from tokenloom.model.step import TorchStep
from tokenloom.native.open import NotNative, inspect, open_native
from tokenloom.native.step import NativeStep
from tokenloom.step import Row

IDS = [int(i) for i in np.random.default_rng(0).integers(3, 300, 90)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("native") / "small.gguf"
    small_llama(path, kind="Q8_0")
    return path


@pytest.fixture
def step(model: Path) -> NativeStep:
    return open_native(model, n_slots=6, threads=2)


def logits(step: Any, ids: list[int], slot: int = 0) -> np.ndarray:
    found = step.run([Row(slot, 0, ids, want=len(ids))])[0]
    assert found is not None
    return found


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_near_pytorch_on_the_same_weights(kind: str, tied: bool, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    small_llama(path, kind=kind, tie_word_embeddings=tied)
    native = logits(open_native(path, n_slots=1, threads=1), IDS)
    torch_ = logits(TorchStep(load_model(path, "float32", "cpu"), 1), IDS)
    # Only the cache's halves differ where the weights are floats: activations are not rounded then.
    assert np.abs(native - torch_).max() < 4e-3 * np.abs(torch_).max()
    assert np.mean(native.argmax(1) == torch_.argmax(1)) > 0.97


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "mistral", "biases", "linear", "yarn", "llama3"])
def test_every_family_it_states(family: str, hub_folder: Any) -> None:
    folder = hub_folder(family)
    native = logits(open_native(folder, n_slots=1, threads=2), IDS)
    torch_ = logits(TorchStep(load_model(folder, "float32", "cpu"), 1), IDS)
    # The cut to Q8_0 and int8 activations are in between.
    assert np.abs(native - torch_).max() < 0.08 * np.abs(torch_).max()
    assert np.corrcoef(native.ravel(), torch_.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0", "F16", "BF16"])
def test_blocks_of_every_kind_open(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    small_llama(path, kind=kind)
    native = logits(open_native(path, n_slots=1, threads=2), IDS)
    torch_ = logits(TorchStep(load_model(path, "float32", "cpu"), 1), IDS)
    assert np.corrcoef(native.ravel(), torch_.ravel())[0, 1] > 0.995


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_mix_of_rows_gives_the_bits_of_each_alone(data: st.DataObject, model: Path) -> None:
    """Chunked = whole, cached = full, parked = uninterrupted, copied = computed, with any threads."""
    if not KNOWN:
        alone = open_native(model, n_slots=1, threads=1)
        KNOWN.update({seed: logits(alone, sequence(seed)) for seed in range(SEQUENCES)})
    step = open_native(model, n_slots=4, threads=data.draw(st.integers(1, 3)))
    slots: dict[int, tuple[int, int]] = {}
    for _ in range(data.draw(st.integers(3, 12))):
        rows, wanted = [], []
        for slot in range(4):
            seed, done = slots.get(slot, (data.draw(st.integers(0, SEQUENCES - 1)), 0))
            if done == len(sequence(seed)) or not data.draw(st.booleans()):
                continue
            n = data.draw(st.integers(1, len(sequence(seed)) - done))
            rows.append(
                Row(slot, done, sequence(seed)[done : done + n], want=data.draw(st.sampled_from([0, 1, n])))
            )
            wanted.append((seed, done + n))
            slots[slot] = (seed, done + n)
        if not rows:
            continue
        for row, (seed, end), found in zip(rows, wanted, step.run(rows), strict=True):
            if row.want:
                assert np.array_equal(found, KNOWN[seed][end - row.want : end])
            else:
                assert found is None
        if slots and data.draw(st.booleans()):
            shuffle_cache(step, slots, data)
    step.close()


SEQUENCES = 3
KNOWN: dict[int, np.ndarray] = {}


def sequence(seed: int) -> list[int]:
    return [int(i) for i in np.random.default_rng(100 + seed).integers(3, 300, 40 + 25 * seed)]


def shuffle_cache(step: NativeStep, slots: dict[int, tuple[int, int]], data: st.DataObject) -> None:
    """Parks a slot, gives its memory back, and puts it elsewhere; or copies it."""
    slot = data.draw(st.sampled_from(sorted(slots)))
    other = data.draw(st.integers(0, 3))
    held = slots[slot]
    if data.draw(st.booleans()):
        parked = step.park(slot, held[1])
        step.release(slot)
        del slots[slot]
        step.unpark(parked, other)
    elif other != slot:
        step.copy(slot, other, held[1])
    slots[other] = held


def test_allowed_columns_are_those_of_the_whole(step: NativeStep) -> None:
    whole = logits(step, IDS)
    ranges = ((3, 20), (100, 101), (0, 2))
    sliced = step.run([Row(1, 0, IDS, want=5, allowed=ranges), Row(2, 0, IDS[:7], want=2)])
    columns = [i for a, b in ranges for i in range(a, b)]
    assert np.array_equal(sliced[0], whole[-5:, columns])
    assert np.array_equal(sliced[1], whole[5:7])


def test_rows_of_the_same_columns_get_the_bits_of_each_alone(step: NativeStep) -> None:
    columns = st.sampled_from([None, (), ((0, 320),), ((3, 20), (100, 101), (0, 2)), ((40, 60),)])

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(columns, st.integers(0, 2)), min_size=1, max_size=6))
    def body(asks: list[tuple[Any, int]]) -> None:
        rows = [
            Row(slot, 0, IDS[slot : slot + 9], want, allowed) for slot, (allowed, want) in enumerate(asks)
        ]
        for row, found in zip(rows, step.run(rows), strict=True):
            if row.want == 0:
                assert found is None
            else:
                assert np.array_equal(found, step.run([row])[0])

    body()


def test_positions_from_start_on_are_overwritten(step: NativeStep) -> None:
    whole = logits(step, IDS)
    logits(step, IDS[:40] + [5] * 30, slot=1)
    again = step.run([Row(1, 40, IDS[40:], want=50)])[0]
    assert np.array_equal(again, whole[40:])


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (Row(9, 0, [1], 1), "slot"),
        (Row(0, 0, [1] * 300, 1), "context"),
        (Row(0, 256, [1], 1), "context"),
        (Row(0, -1, [1], 1), "positions"),
        (Row(0, 0, [100000], 1), "vocabulary"),
        (Row(0, 0, [-1], 1), "vocabulary"),
        (Row(0, 0, [], 0), "positions"),
        (Row(0, 0, [1], 1, allowed=((0, 10**6),)), "range"),
    ],
)
def test_rows_that_cannot_be_are_refused(step: NativeStep, row: Row, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        step.run([row])
    assert logits(step, IDS[:3]).shape == (3, 320)


def test_two_rows_in_one_slot_are_refused(step: NativeStep) -> None:
    with pytest.raises(ValueError, match="twice"):
        step.run([Row(0, 0, [1], 1), Row(0, 1, [2], 1)])


def test_a_fork_goes_on_with_threads_of_its_own(step: NativeStep) -> None:
    expected = logits(step, IDS)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(logits(step, IDS, slot=1), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(logits(step, IDS, slot=2), expected)


def test_a_fork_may_close_its_step_while_the_threads_sleep(step: NativeStep) -> None:
    logits(step, IDS)
    time.sleep(0.05)
    child = os.fork()
    if child == 0:
        step.close()
        os._exit(0)
    until = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0)


@pytest.mark.parametrize("threads", [1, 2, 3, 40])
def test_any_number_of_threads_gives_the_same_bits(threads: int, model: Path) -> None:
    expected = logits(open_native(model, n_slots=1, threads=1), IDS)
    step = open_native(model, n_slots=1, threads=threads)
    for _ in range(3):
        assert np.array_equal(logits(step, IDS), expected)


def test_no_columns_at_all_are_an_answer_too(step: NativeStep) -> None:
    none, all_ = step.run([Row(0, 0, IDS[:5], 2, allowed=()), Row(1, 0, IDS[:5], 2)])
    assert none is not None
    assert none.shape == (2, 0)
    assert np.array_equal(all_, logits(step, IDS[:5])[-2:])


def test_weights_that_are_no_numbers_end_no_process(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    weights = small_weights()
    weights["model.layers.0.mlp.up_proj.weight"][:, ::3] = np.inf
    write_gguf(path, SMALL, weights, "F16")
    assert not np.isfinite(logits(open_native(path, n_slots=1, threads=2), IDS)).any()


def test_killed_in_the_middle_of_a_step_the_engine_comes_back(model: Path) -> None:
    answers: dict[str, list[Delta]] = {"whole": [], "cut": [], "again": []}
    many = 16  # so much to say that the first news comes long before the last

    def until(what: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not what():
            assert time.monotonic() < end
            time.sleep(0.005)

    def ended(name: str) -> bool:
        return sum(delta.finish is not None for delta in answers[name]) == many

    with EngineProcess(threads=2) as engine:
        engine.load("m", str(model))
        for name in answers:
            request = Request(name, "m", tuple(IDS), 150, n=many, min_tokens=150)
            engine.submit(request, answers[name].extend)
            if name == "cut":
                until(lambda: bool(answers["cut"]))
                os.kill(engine.status().pid or 0, signal.SIGKILL)
                until(lambda: engine.status().restarts == 1)
            until(lambda name=name: ended(name))
    ids = {name: [i for d in deltas for i in d.ids if d.choice == 0] for name, deltas in answers.items()}
    assert len(ids["whole"]) == 150
    assert ids["again"] == ids["whole"]
    assert ids["cut"] == ids["whole"][: len(ids["cut"])]
    assert answers["cut"][-1].finish == "error"


@pytest.mark.parametrize("sampling", [Sampling(temperature=0.0), Sampling(temperature=0.7)])
def test_guessing_ahead_is_the_default_and_changes_no_bit(model: Path, sampling: Sampling) -> None:
    assert prepare(model, dtype="float32", device="cpu").speculate == 0
    again = tuple(IDS[:20]) * 3
    favoured = tuple((i, 12.0) for i in range(40, 43))  # few ids to choose from: the text repeats
    request = Request("r", "m", again, 120, sampling, logprobs=1, seed=5)
    request = request.replace(sampling=dataclasses.replace(sampling, logit_bias=favoured))
    answers, drafted = [], []
    for speculate in (0, None):
        core = prepare(model, device="cpu", speculate=speculate).open()
        core.add(request)
        deltas: list[Delta] = []
        while core.busy:
            deltas += core.step()
        answers.append(([i for d in deltas for i in d.ids], [p for d in deltas for p in d.logprobs]))
        drafted.append(core.stats()["drafted_tokens"])
        core.close()
    assert answers[0] == answers[1]
    assert len(answers[0][0]) == 120
    assert drafted[0] == 0 < drafted[1]


@pytest.mark.parametrize("isa", ["portable", "avx2", "avxvnni"])
def test_the_whole_step_is_the_same_on_every_instruction_set(
    isa: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = logits(open_native(model, n_slots=1, threads=1), IDS)
    monkeypatch.setenv("LOOM_ISA", isa)
    try:
        step = open_native(model, n_slots=1, threads=1)
    except NotNative:
        pytest.skip(f"this machine has no {isa}")
    assert np.array_equal(logits(step, IDS), expected)


def test_what_it_does_not_do_is_said(hub_folder: Any) -> None:
    for family, word in (("gpt2", "norms"), ("gemma3", "norms")):
        with pytest.raises(NotNative, match=word):
            inspect(hub_folder(family))


def test_an_instruction_set_that_is_not_there_is_said(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_ISA", "mmx")
    with pytest.raises(NotNative, match="mmx"):
        inspect(model)


def test_the_cut_is_kept_and_made_anew(hub_folder: Any) -> None:
    folder = hub_folder("qwen2")
    first = logits(open_native(folder, n_slots=1, threads=1), IDS[:9])
    cut = next(folder.parent.glob(f".{folder.name}*.gguf"))
    stamp = cut.stat().st_mtime_ns
    assert np.array_equal(logits(open_native(folder, n_slots=1, threads=1), IDS[:9]), first)
    assert cut.stat().st_mtime_ns == stamp
    os.utime(folder / "model.safetensors")
    open_native(folder, n_slots=1, threads=1)
    assert cut.stat().st_mtime_ns != stamp
    cut.write_bytes(cut.read_bytes()[:100])
    assert np.array_equal(logits(open_native(folder, n_slots=1, threads=1), IDS[:9]), first)


def test_config_and_weights_must_agree(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    weights = small_weights()
    weights["model.layers.1.mlp.down_proj.weight"] = np.zeros((64, 64), np.float32)
    write_gguf(path, SMALL, weights, "F32")
    with pytest.raises(ValueError, match="down"):
        open_native(path, n_slots=1)
    assert read_config(path).n_layer == 2
