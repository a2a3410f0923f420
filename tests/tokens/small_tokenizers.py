"""Small tokenizers as Hub folders and GGUF files, for the tests of this room."""

from __future__ import annotations

import inspect
import io
import json
from pathlib import Path
from typing import Any

import gguf
import sentencepiece
import tokenizers

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|python_tag|>",
    "[TOOL_CALLS]",
    "[INST]",
    "[/INST]",
]
MARKERS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
TEXTS = [
    "It was the best of times, it was the worst of times, it wasn't ours; we'll see, they've gone. I'M.",
    "你好，世界！今天天气很好，我们去公园散步吧。\u3000全角空格",
    "def f(x):\n    return {'a': [x ** 2 for _ in range(10)]}\n\n\tprint(f\"{f(3)}\")\r\n",
    "family 👨‍👩‍👧‍👦 flag 🏳️‍🌈 party 🎉🎉 skin 👍🏽",
    "  lead\t\ttabs\r\n\r\n   many    spaces   ",
    "\x00\x01\x7f\u200b\ufeff\u0301\u2028 control",
    "Ünïcödé ñ ﬁ Ω Привет мир عربى हिन्दी ไทย 한국어 にほんご",
    "1234567890 3.14159 1,000,000 x2 ２０２４ ½ Ⅷ",
    "<|im_end <think <|tool| [INST <<SYS>>",
    "a" * 60,
    " ",
    "\n",
    "",
]
VERSE = [
    "空山不见人，但闻人语响。返景入深林，复照青苔上。",
    "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。",
    "床前明月光，疑是地上霜。举头望明月，低头思故乡。",
]


def training_text() -> list[str]:
    """Real English and code (the standard library's own words) beside the texts above."""
    source = inspect.getsource(io) + inspect.getsource(json) + inspect.getsource(inspect)
    return [*(text for text in TEXTS for _ in range(20)), *source.splitlines(keepends=True)[:1500]]


def corpus() -> list[str]:
    return [*training_text(), *VERSE * 5, "2024 12345 " * 20]


def write_folder(folder: Path, backend: tokenizers.Tokenizer, **config: Any) -> Path:
    """A Hub folder of this tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    stated = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    return folder


def write_gguf(path: Path, architecture: str = "llama", **keys: Any) -> Path:
    """A GGUF file of metadata alone; keys are those of `tokenizer.ggml.`, or whole where they have a dot."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    for key, value in keys.items():
        name = key.replace("__", ".") if "__" in key else f"tokenizer.ggml.{key}"
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        else:
            writer.add_array(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_of_bytes(path: Path, backend: tokenizers.Tokenizer, pre: str, **keys: Any) -> Path:
    """A GGUF file of a byte-level tokenizer."""
    state = json.loads(backend.to_str())
    vocab = backend.get_vocab(with_added_tokens=True)
    tokens = sorted(vocab, key=vocab.__getitem__)
    added = {token["content"]: 3 if token["special"] else 4 for token in state["added_tokens"]}
    return write_gguf(
        path,
        model="gpt2",
        pre=pre,
        tokens=tokens,
        token_type=[added.get(token, 1) for token in tokens],
        merges=[" ".join(pair) for pair in state["model"]["merges"]],
        **{"bos_token_id": vocab["<|endoftext|>"], "eos_token_id": vocab["<|im_end|>"], **keys},
    )


def gguf_of_spm(path: Path, model: sentencepiece.SentencePieceProcessor, **keys: Any) -> Path:
    """A GGUF file of a SentencePiece model."""

    def kind(id: int) -> int:
        if model.is_unknown(id):
            return 2
        return 3 if model.is_control(id) else 6 if model.is_byte(id) else 1

    count = model.get_piece_size()
    return write_gguf(
        path,
        model="llama",
        pre="default",
        tokens=[model.id_to_piece(id) for id in range(count)],
        scores=[model.get_score(id) for id in range(count)],
        token_type=[kind(id) for id in range(count)],
        **{"unknown_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **keys},
    )
