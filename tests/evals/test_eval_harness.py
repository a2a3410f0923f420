"""lm-evaluation-harness on our engine: the same scores as the same harness on transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lm_eval
import pytest
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from local_tasks import NAMES, TEXTS, write_tasks

from tokenloom.evals.harness import Loom, run_tasks
from tokenloom.evals.open import Opened, open_model
from tokenloom.evals.window import document, fit
from tokenloom.model.load import load_model
from tokenloom.model.save import save_model
from tokenloom.tokens.folder import tokenizer_files
from tokenloom.tokens.text import load_tokenizer

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(900)]
LENGTH = 96
"""Short, so that the long text needs windows and long contexts are cut."""


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model as a folder, which both sides read in float32."""
    torch.set_num_threads(1)
    file = request.getfixturevalue("smollm2")
    place = tmp_path_factory.mktemp("hub") / "smollm2"
    return save_model(load_model(file, "bfloat16", "cpu"), place, files=tokenizer_files(load_tokenizer(file)))


@pytest.fixture(scope="module")
def opened(folder: Path) -> Iterator[Opened]:
    model = open_model(folder, dtype="float32", n_slots=4, context=256)
    yield model
    model.close()


@pytest.fixture(scope="module")
def ours(opened: Opened) -> Loom:
    return Loom(opened.tokenizer, opened.scorer, opened.writer, max_length=LENGTH)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> HFLM:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, max_length=LENGTH)


@pytest.fixture(autouse=True)
def data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")


def test_three_tasks_score_the_same(ours: Loom, theirs: HFLM, tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    want = lm_eval.simple_evaluate(
        model=theirs, tasks=list(NAMES), task_manager=manager, log_samples=False, num_fewshot=1
    )
    found = run_tasks(ours, NAMES, include=tasks, shots=1)
    assert {score.metric for score in found} == {
        *("acc", "acc_norm", "exact_match", "bleu", "word_perplexity", "byte_perplexity", "bits_per_byte")
    }
    for score in found:
        theirs_value = want["results"][score.task][f"{score.metric},{score.filter}"]
        assert score.interval.value == pytest.approx(theirs_value, rel=1e-4), score
    by_metric = {score.metric: score for score in found}
    assert 0.3 < by_metric["acc"].interval.value < 1
    assert by_metric["exact_match"].interval.value > 0
    assert by_metric["acc"].interval.low is not None
    assert by_metric["acc"].interval.n == 10


def requests(kind: Any, *args: tuple[Any, ...]) -> list[Instance]:
    return [Instance(kind, {}, one, at) for at, one in enumerate(args)]


def test_each_request_is_answered_the_same(ours: Loom, theirs: HFLM) -> None:
    pairs = [
        ("The capital of France is", " Paris"),
        ("The capital of France is", " the city of Lyon"),
        ("Trailing blanks stay together  ", "here"),
        ("", "No context at all"),
        ("word " * 150, "much too long a context"),
        ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "Hello"),
    ]
    asked = requests("loglikelihood", *pairs)
    for mine, other in zip(ours.loglikelihood(asked), theirs.loglikelihood(asked), strict=True):
        assert mine[0] == pytest.approx(other[0], abs=2e-3)
        assert mine[1] == other[1]
    rolled = requests("loglikelihood_rolling", *[(text,) for text in TEXTS])
    for total, other_total in zip(
        ours.loglikelihood_rolling(rolled), theirs.loglikelihood_rolling(rolled), strict=True
    ):
        assert total == pytest.approx(other_total, abs=5e-3)
    written = requests(
        "generate_until",
        ("Once upon a time", {"until": ["\n"], "max_gen_toks": 24}),
        ("The three laws of motion are", {"until": ["law", ","], "max_gen_toks": 24, "do_sample": False}),
        ("1, 2, 3, 4,", {"until": [], "max_gen_toks": 12}),
        ("word " * 150, {"until": ["."], "max_gen_toks": 10}),
    )
    assert ours.generate_until(written) == theirs.generate_until(written)


def test_the_sliding_window_is_that_of_transformers_documentation(opened: Opened, theirs: HFLM) -> None:
    text = document(TEXTS[3], opened.tokenizer)
    window, stride = 48, 16
    found = fit(opened.scorer, [text], window=window, stride=stride)
    ids = torch.tensor([text.ids])
    total, before = 0.0, 0
    for begin in range(0, ids.shape[1], stride):
        end = min(begin + window, ids.shape[1])
        labels = ids[:, begin:end].clone()
        labels[:, : before - begin] = -100
        with torch.no_grad():
            loss = theirs.model(ids[:, begin:end], labels=labels).loss
        total += float(loss) * int((labels[:, 1:] != -100).sum())
        before = end
        if end == ids.shape[1]:
            break
    assert found.nats == pytest.approx(total, rel=1e-4)


def test_chats_are_rendered_the_same(ours: Loom, theirs: HFLM) -> None:
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, how are"}]
    for whole in (True, False):
        turns = history[:1] if whole else history
        assert ours.apply_chat_template(turns, whole) == theirs.apply_chat_template(turns, whole)
    assert ours.chat_template(True) == theirs.chat_template(True)


def test_what_cannot_be_done_is_said(ours: Loom, opened: Opened, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="generation_kwargs: found num_beams"):
        ours.generate_until(requests("generate_until", ("a", {"until": [], "num_beams": 3})))
    with pytest.raises(ValueError, match=f"max_gen_toks: found {LENGTH}"):
        ours.generate_until(requests("generate_until", ("a", {"until": [], "max_gen_toks": LENGTH})))
    with pytest.raises(ValueError, match="the model holds 96 in all"):
        ours.loglikelihood(requests("loglikelihood", ("a", " word" * 120)))
    with pytest.raises(ValueError, match=r"include: .* is no folder"):
        run_tasks(ours, ["loom_choices"], include=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="max_length: found 0; allowed: 1 to 256"):
        Loom(opened.tokenizer, opened.scorer, opened.writer, max_length=0)
