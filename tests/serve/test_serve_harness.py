"""lm-eval's `local-completions` against our server: its scores are the engine's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_engine import logprob_of
from serving import Served

from tokenloom.tokens.text import load_tokenizer

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("tokenized", [True, False])
def test_loglikelihood_and_generation(served: Served, model_folder: Path, tokenized: bool) -> None:
    completions = pytest.importorskip("lm_eval.models.openai_completions")
    harness = completions.LocalCompletionsAPI(
        base_url=served.v1 + "/completions",
        model="tiny",
        tokenizer=str(model_folder),
        tokenizer_backend="huggingface",
        tokenized_requests=tokenized,
        max_length=1024,
        batch_size=3,
    )
    tokenizer = load_tokenizer(model_folder)
    pairs = [("The quick brown", " fox"), ("What is the weather", " in Paris?"), ("Hello", " there.")]
    found = harness.loglikelihood([SimpleNamespace(args=pair) for pair in pairs], disable_tqdm=True)
    for (before, after), (score, greedy) in zip(pairs, found, strict=True):
        whole = tokenizer.encode(before + after)
        known = whole[len(tokenizer.encode(before)) :]
        assert score == pytest.approx(sum(map(logprob_of, known)))
        assert greedy
    asked = [SimpleNamespace(args=("SAY(one two three)YAS", {"until": [" three"], "max_gen_toks": 32}))]
    assert harness.generate_until(asked, disable_tqdm=True) == ["one two"]
