"""What `loom models` tells of a model outside the catalogue comes from the model's own files."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_composer import tiny_composer

from tokenloom.hub.card import Card, card_of, card_of_folder, composes, has_codec, speaks

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


def test_a_folder_whose_tokenizer_has_music_composes(tmp_path: Path) -> None:
    folder = tiny_composer(tmp_path / "composer")
    assert composes(folder)
    assert card_of(folder).abilities == ("compose",)
    (folder / "codec").mkdir()
    (folder / "codec" / "config.json").write_text("{}")
    assert card_of(folder).abilities == ("draw", "edit", "restyle", "describe", "compose"), "one for both"


def test_a_folder_with_a_codec_of_sound_speaks(tmp_path: Path) -> None:
    assert not speaks(tmp_path)
    (tmp_path / "sound").mkdir()
    (tmp_path / "sound" / "config.json").write_text("{}")
    assert speaks(tmp_path)
    assert card_of(tmp_path).abilities == ("speak",), "and writes no text"


@pytest.mark.parametrize(
    ("ranges", "mark", "found"),
    [
        ('[{"name": "text"}, {"name": "music"}]', "<|compose|>", True),
        ('{"music": [0, 9]}', "<|compose|>", True),
        ('[{"name": "text"}, {"name": "image"}]', "<|compose|>", False),
        ('[{"name": "music"}]', "<|draw|>", False),
        ('["music"]', "<|compose|>", False),
        ("7", "<|compose|>", False),
    ],
)
def test_both_the_events_and_the_mark_are_asked_for(
    tmp_path: Path, ranges: str, mark: str, found: bool
) -> None:
    (tmp_path / "tokenloom.json").write_text(f'{{"ranges": {ranges}}}')
    assert not composes(tmp_path), "there is no tokenizer"
    (tmp_path / "tokenizer.json").write_text(f'{{"added_tokens": [{{"content": "{mark}"}}]}}')
    assert composes(tmp_path) is found


@pytest.mark.parametrize("text", ["", "{", "[]", '{"max_position_embeddings": "many"}', "[" * 100_000])
def test_damaged_files_say_nothing(tmp_path: Path, text: str) -> None:
    names = ("config.json", "tokenizer_config.json", "tokenizer.json", "tokenloom.json", "README.md")
    for name in names:
        (tmp_path / name).write_text(text)
    assert card_of_folder(tmp_path) == Card("", 0, ("write",), ())
    (tmp_path / "model.gguf").write_text(text)
    assert card_of(tmp_path / "model.gguf") == card_of(tmp_path / "none.gguf") == Card()
