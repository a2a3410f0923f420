"""The embedded model through every torch path says what transformers says of the same GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tokenloom.model.load import load_model
from tokenloom.model.step import TorchStep
from tokenloom.step import Row

pytestmark = [pytest.mark.model, pytest.mark.slow]
NEW = 12
PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a village by the sea,",
    "def fibonacci(n):\n",
    "Water boils at",
    "The three laws of motion are",
    "Dear Sir or Madam,",
    "1, 2, 3, 5, 8,",
    "To make bread you need",
    "In 1969, the first human",
    "The opposite of hot is",
    "She opened the door and saw",
    "Photosynthesis is the process",
    "List of fruits:\n- apple\n-",
    "The quick brown fox",
    "import numpy as np\n",
    "My favourite season is",
    "Shakespeare wrote",
    "The largest planet in the solar system",
    "Question: What is 2 + 2?\nAnswer:",
    "Rain fell all night, and in the morning",
]


@pytest.fixture(scope="module")
def theirs(smollm2: Path) -> tuple[Any, Any]:
    """transformers' tokenizer and float32 model of the file."""
    place = {"pretrained_model_name_or_path": smollm2.parent, "gguf_file": smollm2.name}
    model = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).eval()
    return transformers.AutoTokenizer.from_pretrained(**place), model


def test_logits_and_greedy_text_of_twenty_prompts(smollm2: Path, theirs: tuple[Any, Any]) -> None:
    tokenizer, model = theirs
    ours = load_model(smollm2, "float32", "cpu")
    step = TorchStep(ours, n_slots=len(PROMPTS), context=128)
    prompts = [tokenizer(text)["input_ids"] for text in PROMPTS]
    rows = [Row(i, 0, ids, want=len(ids)) for i, ids in enumerate(prompts)]
    answers = step.run(rows)
    for ids, found in zip(prompts, answers, strict=True):
        with torch.no_grad():
            want = model(torch.tensor([ids])).logits[0].numpy()
            np.testing.assert_allclose(ours(torch.tensor([ids]))[0].numpy(), want, atol=2e-3)
        np.testing.assert_allclose(found, want, atol=2e-3)
    outputs = [[int(found[-1].argmax())] for found in answers]
    for _ in range(NEW - 1):
        rows = [
            Row(i, len(ids) + len(out) - 1, [out[-1]], want=1)
            for i, (ids, out) in enumerate(zip(prompts, outputs, strict=True))
        ]
        for out, found in zip(outputs, step.run(rows), strict=True):
            out.append(int(found[-1].argmax()))
    for ids, out in zip(prompts, outputs, strict=True):
        said = model.generate(
            torch.tensor([ids]), max_new_tokens=NEW, do_sample=False, eos_token_id=-1, pad_token_id=0
        )
        assert tokenizer.decode(out) == tokenizer.decode(said[0, len(ids) :])


def test_bfloat16_stays_near(smollm2: Path, theirs: tuple[Any, Any]) -> None:
    """Prefill in blocks and packed products: the distributions stay close to float32's."""
    tokenizer, model = theirs
    ids = tokenizer(" ".join(PROMPTS))["input_ids"]
    step = TorchStep(load_model(smollm2, "bfloat16", "cpu"), n_slots=1, context=512)
    (found,) = step.run([Row(0, 0, ids, want=len(ids))])
    with torch.no_grad():
        want = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    other = torch.from_numpy(found).log_softmax(-1)
    assert float((want.exp() * (want - other)).sum(-1).mean()) < 0.01
    assert float((want.argmax(-1) == other.argmax(-1)).float().mean()) > 0.9
