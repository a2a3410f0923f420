"""The page's files: vendored ones are what they claim, both languages agree, no other host, modules parse."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tokenloom.trust import WORDS
from tokenloom.trust.verify import inspect

STUDIO = Path(__file__).parents[2] / "tokenloom" / "studio"
VENDOR = STUDIO / "vendor"
OWN = [
    path
    for path in sorted(STUDIO.rglob("*"))
    if path.suffix in {".js", ".css", ".html", ".svg"} and VENDOR not in path.parents
]
MODULES = [path for path in OWN if path.suffix == ".js"]
ENTRY = re.compile(r'^ {2}"([\w.]+)": "((?:[^"\\]|\\.)*)",$', re.M)


def sentences(lang: str) -> dict[str, str]:
    text = (STUDIO / "js" / "i18n" / f"{lang}.js").read_text(encoding="utf-8")
    found = ENTRY.findall(text)
    assert len(found) == len({key for key, _ in found}), "a key stands twice"
    assert len(found) == text.count("\n") - 3, "a line is not read by this test"
    return dict(found)


def named(path: Path) -> str:
    return str(path.relative_to(STUDIO))


def test_vendored_files_are_those_of_the_manifest() -> None:
    modules = json.loads((VENDOR / "VENDOR.json").read_text())["modules"]
    expected = {"VENDOR.json"}
    for module in modules:
        assert set(module) >= {"name", "version", "licence", "file", "sha256", "licence_file", "changes"}
        assert hashlib.sha256((VENDOR / module["file"]).read_bytes()).hexdigest() == module["sha256"], module[
            "name"
        ]
        licence = (VENDOR / module["licence_file"]).read_bytes()
        assert hashlib.sha256(licence).hexdigest() == module["licence_sha256"]
        assert re.search(rb"Permission is hereby granted|Apache License", licence)
        expected |= {module["file"], module["licence_file"]}
    assert {path.name for path in VENDOR.iterdir()} == expected


def test_vendored_modules_import_only_each_other() -> None:
    for path in VENDOR.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r'(?:from|import)\s*"([^"]+)"', text):
            assert (VENDOR / target).is_file(), f"{path.name} imports {target}"
        assert "sourceMappingURL" not in text


@pytest.mark.parametrize("path", OWN, ids=named)
def test_no_other_host_and_nothing_a_strict_policy_refuses(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(?:https?|wss?)://\w|@import|\burl\(\s*[\"']?//", text)
    assert not re.search(r"\beval\(|new Function|\.innerHTML\s*=|document\.write|\son\w+=[\"']", text)
    if path.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)", text)
    assert text.count("\n") <= 400
    assert "\t" not in text


def test_everything_referred_to_is_there() -> None:
    page = (STUDIO / "index.html").read_text(encoding="utf-8")
    for target in re.findall(r'(?:src|href)="(\./[^"]+)"', page):
        assert (STUDIO / target).is_file(), target
    for path in MODULES:
        for target in re.findall(r'from "(\.[^"]+)"', path.read_text(encoding="utf-8")):
            assert (path.parent / target).is_file(), f"{path.name} imports {target}"


def test_both_languages_have_every_sentence_with_the_same_marks() -> None:
    en, zh = sentences("en"), sentences("zh")
    assert en.keys() == zh.keys()
    for key in en:
        assert set(re.findall(r"\{\w+\}", en[key])) == set(re.findall(r"\{\w+\}", zh[key])), key
        assert re.search(r"[\u4e00-\u9fff]", zh[key]) or key in {
            "nav.lang",
            "settings.top_p",
            "settings.top_k",
        }, key
        assert not re.search(r"[\u4e00-\u9fff][,;:?!]", zh[key]), f"half-width punctuation in {key}"


def test_every_sentence_is_used_and_every_used_one_exists() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in MODULES if path.parent.name != "i18n")
    used = set(re.findall(r'"([a-z]\w*(?:\.\w+)+)"', code))
    families = [re.compile(re.sub(r"\\\$\\\{.*?\\\}", r"[\\w]+", re.escape(form)) + "$")
                for form in re.findall(r"t\(`([^`]+)`", code)]  # fmt: skip
    known = sentences("en").keys()
    unused = {key for key in known if key not in used and not any(form.match(key) for form in families)}
    assert unused == set()
    assert set(re.findall(r'\bt\("([^"]+)"', code)) <= known


def test_the_label_is_in_both_languages_wherever_it_must_be() -> None:
    for lang in ("en", "zh"):
        assert sentences(lang)["label.short"] == WORDS[lang]
        assert sentences(lang)["label.notice"].startswith(WORDS[lang])
    assert WORDS["en"] in (STUDIO / "index.html").read_text(encoding="utf-8")


node = pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine to run the modules")


def run_node(code: str, tmp_path: Path) -> str:
    """Runs a module beside copies of the page's own that need no browser."""
    for name in ("sse.js", "export.js"):
        (tmp_path / name.replace(".js", ".mjs")).write_text(
            (STUDIO / "js" / name).read_text(encoding="utf-8")
        )
    (tmp_path / "test.mjs").write_text(code)
    done = subprocess.run(["node", str(tmp_path / "test.mjs")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@node
def test_modules_parse(tmp_path: Path) -> None:
    script = tmp_path / "parse.mjs"
    script.write_text(
        """
        import { readFileSync } from "node:fs";
        import { SourceTextModule } from "node:vm";
        for (const path of process.argv.slice(2)) {
          new SourceTextModule(readFileSync(path, "utf8"), { identifier: path });
        }
        """
    )
    command = ["node", "--experimental-vm-modules", str(script), *map(str, [*MODULES, *VENDOR.glob("*.js")])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


STREAM = (
    "\ufeff: hello\r\ndata: one\r\n\r\ndata:two\ndata:  three\n\nevent: x\ndata\n\nid: 4\n\n"
    "data: 中文😀\rdata: five\r\rdata: unfinished"
)
EVENTS = ["one", "two\n three", "", "中文😀\nfive"]


@node
def test_event_parser_gives_the_same_events_wherever_the_stream_is_cut(tmp_path: Path) -> None:
    """Every cut into two, and every piece size, at the level of bytes: characters are cut too."""
    code = f"""
        import {{ events, SseParser }} from "./sse.mjs";
        const bytes = new TextEncoder().encode({json.dumps(STREAM)});
        const read = async (pieces) => {{
          const start = (to) => {{ pieces.forEach((p) => to.enqueue(p)); to.close(); }};
          const body = new ReadableStream({{ start }});
          const found = [];
          for await (const event of events(body)) found.push(event);
          return JSON.stringify(found);
        }};
        const expected = JSON.stringify({json.dumps(EVENTS)});
        for (let at = 0; at <= bytes.length; at++) {{
          const found = await read([bytes.slice(0, at), bytes.slice(at)]);
          if (found !== expected) throw new Error(`cut at ${{at}}: ${{found}}`);
        }}
        for (let size = 1; size <= bytes.length; size++) {{
          const pieces = [];
          for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.slice(at, at + size));
          const found = await read(pieces);
          if (found !== expected) throw new Error(`pieces of ${{size}}: ${{found}}`);
        }}
        if (new SseParser().push("data: a\\n\\n").length !== 1) throw new Error("an event waits for more");
        console.log("ok");
    """
    assert run_node(code, tmp_path) == "ok\n"


@node
def test_saved_chats_carry_the_visible_and_the_hidden_label(tmp_path: Path) -> None:
    sampling = {"temperature": 0.7, "top_p": 0.00001, "seed": 2**53 - 1, "z": 1e-7, "y": 1.25e-11, "x": 3e21}
    chat = {
        "id": "abc",
        "title": 'A "title"\nin two lines',
        "settings": {"model": "m", "system": "Be\nbrief.", "sampling": sampling},
        "messages": [
            {"role": "user", "text": "Hi 😀 \u007f\u2028\t\b\\ 雨", "at": 12.5},
            {"role": "assistant", "text": "Yo", "model": "m", "good": True, "none": None, "list": []},
        ],
    }
    names = {"user": "You", "assistant": "Answer", "system": "System", "label": WORDS["en"]}
    code = f"""
        import {{ toMarkdown, toJson, fileName }} from "./export.mjs";
        const chat = {json.dumps(chat)};
        const titles = ["../a/b: c?.", "...", "虹".repeat(90)].map((title) => fileName(title, "md"));
        const saved = await toJson(chat, {json.dumps(WORDS["zh"])});
        console.log(JSON.stringify([await toMarkdown(chat, {json.dumps(names)}), saved, ...titles]));
    """
    markdown, as_json, name, bare, long = json.loads(run_node(code, tmp_path))
    for kind, data in (("markdown", markdown), ("json", as_json)):
        report = inspect(data.encode(), kind)
        assert report.label is not None
        assert (report.label.kind, report.label.produce_id, report.label.propagate_id) == ("1", "abc", "abc")
        assert report.visible
        assert report.content == "unchanged"
        assert inspect(data.replace("Yo", "No").encode(), kind).content == "changed"
    assert f"> {WORDS['en']}" in markdown
    assert "> Be\n> brief." in markdown
    saved = json.loads(as_json)
    assert list(saved)[:2] == ["AIGC", "notice"]
    assert saved["notice"] == WORDS["zh"]
    assert saved["messages"] == chat["messages"]
    assert (name, bare) == ("a b c.md", "chat.md")
    assert long == "虹" * 60 + ".md"
