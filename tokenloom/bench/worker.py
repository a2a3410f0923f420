"""One peer, measured once, in a process and an environment of its own: `python worker.py '{"peer": ...}'`.

A script, not a module: it is run by the peer's interpreter, where Tokenloom is not installed, so it imports
the standard library and, inside each class, that peer's packages. All peers are asked the same through
`load`, `runs`, `text` and `ids`. The last line on stdout is one JSON object. What is measured, and how:

- cold_s: from the moment the parent started this process to the first new token of a short text, with the
  tokenizer loaded and used.
- decode_tok_s, streams_tok_s: new tokens a second after the first, of one prompt and of several together:
  the time for n tokens less the time for one, so that no peer needs a hook for its first token.
- prefill_tok_s: tokens of a long prompt over the time to its first new token.
- memory_mb: the most memory the process held, after the first text (cold_memory_mb) and after everything.

Prompts are beginnings of texts that the parent sends as ids (`openings`), the long one random ids, each used
once, so that no cache of prefixes helps; the end token is ignored. All are greedy.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from typing import Any

Ids = list[list[int]]


class Transformers:
    """Hugging Face transformers on PyTorch."""

    packages = ("transformers", "torch")

    def load(self, spec: dict[str, Any]) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(spec["threads"])
        dtype = getattr(torch, spec["options"]["dtype"])
        self.torch = torch
        self.tokenizer = AutoTokenizer.from_pretrained(spec["model"])
        self.model = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=dtype).eval()

    def runs(self) -> str:
        return str(self.model.dtype)

    def text(self, prompt: str) -> None:
        self.ids([self.tokenizer(prompt)["input_ids"]], 1)

    def ids(self, prompts: Ids, new: int) -> int:
        rows = self.torch.tensor(prompts)
        options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False}
        with self.torch.inference_mode():
            out = self.model.generate(rows, attention_mask=self.torch.ones_like(rows), **options)
        return int(out.shape[1] - rows.shape[1]) * len(prompts)


class LlamaCpp:
    """llama.cpp through llama-cpp-python's C functions, since its own class runs one sequence at a time."""

    packages = ("llama-cpp-python",)

    def load(self, spec: dict[str, Any]) -> None:
        import ctypes

        import numpy

        llama_cpp = import_module("llama_cpp")
        self.c, self.numpy, self.ctypes = llama_cpp, numpy, ctypes
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(
            spec["model"].encode(), llama_cpp.llama_model_default_params()
        )
        assert self.model, "llama.cpp could not load the model"
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.width = llama_cpp.llama_vocab_n_tokens(self.vocab)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = spec["streams"] * (spec["decode"] + 64) + spec["prompt"]
        params.n_batch, params.n_seq_max = 2048, spec["streams"]
        params.kv_unified = True
        params.n_threads = params.n_threads_batch = spec["threads"]
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        assert self.context, "llama.cpp could not make a context"
        self.batch = llama_cpp.llama_batch_init(2048, 0, spec["streams"])

    def runs(self) -> str:
        return str(self.c.llama_print_system_info().decode())

    def text(self, prompt: str) -> None:
        raw = prompt.encode()
        ids = (self.c.llama_token * 256)()
        n = self.c.llama_tokenize(self.vocab, raw, len(raw), ids, 256, True, False)
        self.ids([list(ids[:n])], 1)

    def ids(self, prompts: Ids, new: int) -> int:
        self.c.llama_memory_clear(self.c.llama_get_memory(self.context), True)
        pending = [list(enumerate(prompt)) for prompt in prompts]
        done = 0
        for _ in range(new):
            chosen = self._step(pending)
            done += len(chosen)
            pending = [[(rows[-1][0] + 1, ids)] for rows, ids in zip(pending, chosen, strict=True)]
        return done

    def _step(self, rows: list[list[tuple[int, int]]]) -> list[int]:
        batch, n, last = self.batch, 0, []
        for sequence, row in enumerate(rows):
            for position, token in row:
                batch.token[n], batch.pos[n] = token, position
                batch.n_seq_id[n], batch.seq_id[n][0] = 1, sequence
                batch.logits[n] = False
                n += 1
            batch.logits[n - 1] = True
            last.append(n - 1)
        batch.n_tokens = n
        status = self.c.llama_decode(self.context, batch)
        assert status == 0, f"llama_decode answered {status}"
        return [self._best(i) for i in last]

    def _best(self, i: int) -> int:
        logits = self.c.llama_get_logits_ith(self.context, i)
        return int(self.numpy.ctypeslib.as_array(logits, (self.width,)).argmax())


class OrtGenai:
    """ONNX Runtime GenAI."""

    packages = ("onnxruntime-genai", "onnxruntime")

    def load(self, spec: dict[str, Any]) -> None:
        import numpy

        self.og, self.numpy = import_module("onnxruntime_genai"), numpy
        config = self.og.Config(spec["model"])
        session = {"session_options": {"intra_op_num_threads": spec["threads"]}}
        config.overlay(json.dumps({"model": {"decoder": session}}))
        self.model = self.og.Model(config)
        self.tokenizer = self.og.Tokenizer(self.model)

    def runs(self) -> str:
        return str(self.model.device_type)

    def text(self, prompt: str) -> None:
        self.ids([list(self.tokenizer.encode(prompt))], 1)

    def ids(self, prompts: Ids, new: int) -> int:
        params = self.og.GeneratorParams(self.model)
        length = len(prompts[0]) + new
        params.set_search_options(
            batch_size=len(prompts), max_length=length, min_length=length, do_sample=False
        )
        generator = self.og.Generator(self.model, params)
        generator.append_tokens(self.numpy.array(prompts, dtype=self.numpy.int32))
        for _ in range(new):
            generator.generate_next_token()
        return sum(len(generator.get_sequence(i)) - len(prompt) for i, prompt in enumerate(prompts))


class OpenvinoGenai:
    """OpenVINO GenAI."""

    packages = ("openvino-genai", "openvino")

    def load(self, spec: dict[str, Any]) -> None:
        import numpy

        self.ov, self.genai, self.numpy = import_module("openvino"), import_module("openvino_genai"), numpy
        self.pipeline = self.genai.LLMPipeline(spec["model"], "CPU", INFERENCE_NUM_THREADS=spec["threads"])

    def _config(self, new: int) -> Any:
        config = self.genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = new
        config.ignore_eos, config.do_sample = True, False
        return config

    def runs(self) -> str:
        return str(self.ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))

    def text(self, prompt: str) -> None:
        self.pipeline.generate(prompt, self._config(1))

    def ids(self, prompts: Ids, new: int) -> int:
        rows = self.ov.Tensor(self.numpy.array(prompts, dtype=self.numpy.int64))
        ones = self.ov.Tensor(self.numpy.ones((len(prompts), len(prompts[0])), dtype=self.numpy.int64))
        out = self.pipeline.generate(self.genai.TokenizedInputs(rows, ones), self._config(new))
        return sum(len(row) for row in out.tokens)


class Tokenloom:
    """Ourselves, through the Python API."""

    packages = ("tokenloom", "torch")

    def load(self, spec: dict[str, Any]) -> None:
        import tokenloom

        self.model = tokenloom.load(spec["model"], **spec["options"])

    def runs(self) -> str:
        return type(self.model._core.runner).__name__

    def text(self, prompt: str) -> None:
        self.model.generate(prompt, max_tokens=1, min_tokens=1, temperature=0)

    def ids(self, prompts: Ids, new: int) -> int:
        answers = self.model.generate(prompts, max_tokens=new, min_tokens=new, temperature=0, ignore_eos=True)
        return sum(len(answer.ids) for answer in answers)


PEERS: dict[str, Callable[[], Any]] = {
    "tokenloom": Tokenloom,
    "transformers": Transformers,
    "llama.cpp": LlamaCpp,
    "onnxruntime-genai": OrtGenai,
    "openvino-genai": OpenvinoGenai,
}


def peak_mb() -> float:
    """The most memory this program has held, in MB (10^6 bytes).

    On Linux `ru_maxrss` outlives exec: a program started from a larger one would report that one's peak. So
    the kernel's own high-water mark of the address space is read there (proc(5), VmHWM).
    """
    with suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure(peer: Any, spec: dict[str, Any]) -> dict[str, float]:
    """All figures of one peer. `spec` holds peer, model, options, started, threads, seed, vocab_size, decode,
    streams, prompt, text, openings (3 and three times as many as streams).
    """
    draw = random.Random(spec["seed"])
    left = iter(spec["openings"])

    def prompts(count: int) -> Ids:
        return list(islice(left, count))

    def seconds(rows: Sequence[list[int]], new: int) -> float:
        start = time.perf_counter()
        got = peer.ids(list(rows), new)
        taken = time.perf_counter() - start
        if got != new * len(rows):
            raise RuntimeError(f"{spec['peer']}: asked for {new * len(rows)} tokens, got {got}")
        return taken

    figures: dict[str, float] = {}
    peer.load(spec)
    figures["load_s"] = time.time() - spec["started"]
    peer.text(spec["text"])
    figures["cold_s"] = time.time() - spec["started"]
    figures["cold_memory_mb"] = peak_mb()
    new, n = spec["decode"], spec["streams"]
    seconds(prompts(1), 4)  # threads and buffers are there from here on
    one, many = seconds(prompts(1), 1), seconds(prompts(1), new)
    figures["decode_tok_s"] = (new - 1) / (many - one)
    long = [draw.randrange(spec["vocab_size"]) for _ in range(spec["prompt"])]
    figures["prefill_tok_s"] = len(long) / seconds([long], 1)
    seconds(prompts(n), 2)
    one, many = seconds(prompts(n), 1), seconds(prompts(n), new)
    figures["streams_tok_s"] = n * (new - 1) / (many - one)
    figures["memory_mb"] = peak_mb()
    return figures


def main() -> None:
    spec = json.loads(sys.argv[1])
    peer = PEERS[spec["peer"]]()
    figures = measure(peer, spec)
    versions = {name: version(name) for name in peer.packages}
    sys.stdout.flush()
    answer = {"figures": figures, "versions": versions, "runs": peer.runs()}
    print("\n" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
