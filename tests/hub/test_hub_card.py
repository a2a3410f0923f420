"""What `loom models` tells of a model outside the catalogue comes from the model's own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenloom.hub.card import Card, card_of_folder, has_codec

README = "---\nlicense: apache-2.0\nlanguage:\n- en\n- zh\ntags: [x]\n---\n# Model\nlicense: none\n"


def test_the_card_of_a_folder(tmp_path: Path) -> None:
    assert card_of_folder(tmp_path) == Card("", 0, ("write",), ())
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 4096}')
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert card_of_folder(tmp_path) == Card("apache-2.0", 4096, ("chat", "write"), ("en", "zh"))
    (tmp_path / "README.md").write_text(README.replace("\n", "\r\n"))
    assert card_of_folder(tmp_path).licence == "apache-2.0"
    (tmp_path / "README.md").write_text("---\nlanguage: en\n---\n")
    assert card_of_folder(tmp_path).languages == ("en",)


def test_a_folder_with_a_codec_draws(tmp_path: Path) -> None:
    assert not has_codec(tmp_path)
    (tmp_path / "codec").mkdir()
    (tmp_path / "codec" / "config.json").write_text("{}")
    assert has_codec(tmp_path)
    assert card_of_folder(tmp_path).abilities == ("draw", "edit", "restyle", "describe")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"max_position_embeddings": "many"}', "[" * 100_000])
def test_damaged_files_say_nothing(tmp_path: Path, text: str) -> None:
    for name in ("config.json", "tokenizer_config.json", "README.md"):
        (tmp_path / name).write_text(text)
    assert card_of_folder(tmp_path) == Card("", 0, ("write",), ())
