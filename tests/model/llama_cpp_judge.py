"""Runs in llama.cpp's own environment, with one argument: {"model": path, "texts": [...], "new": n, ...}.

Prints one JSON object: the ids of each text, and the ids that greedy decoding adds to it or to the prompts.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module


def main() -> None:
    spec = json.loads(sys.argv[1])
    llama_cpp = import_module("llama_cpp")
    llm = llama_cpp.Llama(
        spec["model"], n_ctx=spec["context"], n_threads=1, n_threads_batch=1, verbose=False, seed=0
    )
    ids = [llm.tokenize(text.encode(), add_bos=False, special=False) for text in spec["texts"]]
    written = []
    for prompt in spec.get("prompts") or ids:
        llm.reset()
        stream = llm.generate(prompt, temp=0.0, repeat_penalty=1.0)
        written.append([next(stream) for _ in range(spec["new"])])
    control = llm.tokenize(spec["texts"][0].encode(), add_bos=False, special=True)
    print(json.dumps({"ids": ids, "written": written, "control": control, "n_vocab": llm.n_vocab()}))


if __name__ == "__main__":
    main()
