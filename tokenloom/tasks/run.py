"""A task by a model in this process: what the Python API and the terminal do. Not the server's road.

The model is whatever has what is used of `api.Model`, which lies below this room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenloom.engine.drafts import keep
from tokenloom.tasks.declare import Prompt

if TYPE_CHECKING:
    from tokenloom.api import Generation, Model


def run(model: Model, prompt: Prompt) -> list[Generation]:
    """The versions that were asked for, the best draft of each.

    ValueError where the model lacks the control tokens that the prompt is written with.
    """
    if missing := [token for token in prompt.controls if token not in model.tokenizer.special]:
        raise ValueError(
            f"model: {model.name} has no {missing[0]}, with which this task is written; allowed: "
            f"{prompt.model}, or a model that was trained on texts of that layout"
        )
    if prompt.kind == "chat":
        from tokenloom.tokens.chat import encode_chat

        ids = encode_chat(model.tokenizer, prompt.messages)
    elif prompt.controls:
        ids = model.tokenizer.encode_control(prompt.text)
    else:
        ids = model.tokenizer.encode(prompt.text, bos=True)
    answer = model.generate(ids, constraint=prompt.constraint, **prompt.sampling)
    answers = answer if isinstance(answer, list) else [answer]
    whole = [one.finish == "stop" for one in answers]
    kept = keep(prompt.drafts, prompt.mark, [one.text for one in answers], whole)
    return [answers[at] for at in kept]
