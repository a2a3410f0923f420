"""From records to a clean, deduplicated, split set on disk. Not the rules, which are `clean.py`'s.

A folder of

    train.jsonl      one document a line: {"text", "source", "meta"}
    held-out.jsonl   what training does not see
    report.json, report.md

While it is being made, everything lies under `.work`, with a note of how far reading got. After Ctrl-C, a
kill or a full disk the same call goes on from that note, and the files come out as from a straight run. The
same call on a finished folder gives its report again; another one is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tokenloom.config import put_json, put_text
from tokenloom.data.clean import Batch, clean_batch, steps
from tokenloom.data.contamination import Evaluation
from tokenloom.data.duplicates import U32, Seen, algorithm
from tokenloom.data.record import Record
from tokenloom.data.report import Report, markdown, report_of
from tokenloom.data.settings import Clean
from tokenloom.data.workers import in_order

TRAIN, HELD_OUT = "train.jsonl", "held-out.jsonl"
REPORT, PAGE = "report.json", "report.md"
WORK, NOTE, SEEN, PLACES = ".work", "progress.json", "seen.bin", "places.jsonl"
BATCH_CHARACTERS = 1 << 20
BATCH_RECORDS = 512
SAVE_EVERY_S = 15.0
SCHEMA = 1


def prepare(
    records: Iterable[Record],
    folder: Path | str,
    settings: Clean,
    *,
    evaluations: Sequence[Evaluation] = (),
    workers: int = 1,
    inputs: Mapping[str, Any] | None = None,
    on_progress: Callable[[Report], None] | None = None,
    finish: Callable[[Report], None] | None = None,
) -> Report:
    """Cleans, deduplicates and splits records into `folder`; what was done, as a report.

    records: from the beginning also when going on, since those done are passed over. inputs: what identifies
    them; going on with other inputs or settings is refused. on_progress: called after each batch.
    finish: may add to the report before it is written. Raises ValueError where nothing was read or the folder
    cannot be used, FileExistsError where it holds something else.
    """
    identity = _identity(settings, evaluations, inputs)
    if (report := _finished(Path(folder), identity)) is not None:
        return report
    writer = _Writer(Path(folder), settings, identity)
    begun = time.perf_counter() - writer.report.seconds
    writer.report.workers = workers
    writer.report.settings = settings.facts()
    writer.report.evaluations = [
        {"name": e.name, "items": e.items, "too_short": e.too_short, "runs_of": [n for n, _ in e.runs]}
        for e in evaluations
    ]
    rest = islice(records, writer.cursor, None)
    arguments = (settings, tuple(evaluations))
    with writer, closing(in_order(_cleaner, arguments, _batches(rest), workers)) as done:
        for size, batch in done:
            writer.take(size, batch, time.perf_counter() - begun)
            if on_progress is not None:
                on_progress(writer.report)
        writer.report.seconds = time.perf_counter() - begun
        if not writer.report.documents_in:
            raise ValueError("records: found none; an empty set cannot be prepared")
        if finish is not None:
            finish(writer.report)
        return writer.finish()


def _finished(folder: Path, identity: dict[str, str]) -> Report | None:
    """The report of a folder that this very call finished already; None for one that is not finished."""
    if (folder / WORK / REPORT).exists():  # broken off while the files were put in their places
        _settle(folder)
    if not (folder / REPORT).exists():
        return None
    report = read_report(folder)
    if report.identity != identity:
        raise FileExistsError(
            f"{folder} holds a set made otherwise (other text or settings); delete it or name another place"
        )
    return report


def _settle(folder: Path) -> None:
    for name in (TRAIN, HELD_OUT, PAGE, REPORT):
        if (folder / WORK / name).exists():
            (folder / WORK / name).replace(folder / name)
    shutil.rmtree(folder / WORK)


def is_held_out(record: Record, key: bytes, settings: Clean) -> bool:
    """Whether training does not see a document: by its hash, so it stays so as the data grows.

    key: the document's `exact_key`, used unless `held_out_by` names a field ("source": its file).
    """
    name = settings.held_out_by
    if name == "source":
        key = _digest(re.sub(r"(:\d+)+$", "", record.source).encode())
    elif name:
        if name not in record.meta:
            known = ", ".join(record.meta) or "none"
            raise ValueError(
                f"clean.held_out_by: {record.source} has no field {name!r}; its fields are {known}"
            )
        key = _digest(json.dumps(record.meta[name], sort_keys=True, default=str).encode())
    return int.from_bytes(key[:8], "little") < settings.held_out * 2.0**64


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _cleaner(
    settings: Clean, evaluations: Sequence[Evaluation]
) -> Callable[[list[Record]], tuple[int, Batch]]:
    each = steps(settings, evaluations)

    def work(records: list[Record]) -> tuple[int, Batch]:
        return len(records), clean_batch(records, each, settings)

    return work


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.text)
        if size >= BATCH_CHARACTERS or len(batch) >= BATCH_RECORDS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _identity(
    settings: Clean, evaluations: Sequence[Evaluation], inputs: Mapping[str, Any] | None
) -> dict[str, str]:
    """What must not change between an interruption and going on, each as a hash."""
    sets = [
        [e.name, e.items, [[n, _digest(runs.tobytes()).hex()] for n, runs in e.runs]] for e in evaluations
    ]
    near = settings.duplicates is not None and settings.duplicates.near
    parts = {
        "inputs": dict(inputs or {}),
        "settings": settings.facts(),
        "evaluation sets": sets,
        "signatures": algorithm() if near else "",
    }
    return {k: _digest(json.dumps(v, sort_keys=True, default=str).encode()).hex() for k, v in parts.items()}


class _Writer:
    """The files of a set in the making, and how far it got. State: open files, documents seen, the report."""

    def __init__(self, folder: Path, settings: Clean, identity: dict[str, str]) -> None:
        self.folder, self.settings, self.identity = folder, settings, identity
        self.work = folder / WORK
        self.cursor = 0
        self.report = Report()
        self.seen = Seen(settings.duplicates) if settings.duplicates else None
        self.places: list[str] = []
        self._files: dict[str, BinaryIO] = {}
        self._busy = False
        self._saved = -math.inf  # the first batch is noted at once
        self._open()

    # --- beginning and going on -------------------------------------------------------------------------

    def _open(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"folder: {self.folder} is a file; name a folder")
        for name in (REPORT, TRAIN, HELD_OUT):
            if (self.folder / name).exists():
                raise FileExistsError(f"folder: {self.folder} holds {name} already; name another place")
        self.work.mkdir(parents=True, exist_ok=True)
        note = self.work / NOTE
        sizes = self._restore(json.loads(note.read_text("utf-8"))) if note.exists() else {}
        for name in (TRAIN, HELD_OUT, SEEN, PLACES):
            path = self.work / name
            file = path.open("ab")
            self._files[name] = file
            if path.stat().st_size < sizes.get(name, 0):
                raise ValueError(
                    f"{path}: is shorter than when it was left; remove {self.work} to begin anew"
                )
            file.truncate(sizes.get(name, 0))
            file.seek(0, os.SEEK_END)
        self._recall()

    def _restore(self, note: Mapping[str, Any]) -> dict[str, int]:
        if note.get("schema") != SCHEMA:
            raise ValueError(
                f"{self.work}: was left by another version of this program; remove it to begin anew"
            )
        changed = [name for name, was in note["identity"].items() if self.identity.get(name) != was]
        if changed:
            raise ValueError(
                f"{self.work}: was left by a run with other {' and '.join(changed)}; "
                "give the same, name another folder, or remove it to begin anew"
            )
        self.cursor = note["cursor"]
        self.report = report_of(note["report"])
        return dict(note["sizes"])

    def _recall(self) -> None:
        """Takes the documents that stayed before the interruption into `seen`."""
        if self.seen is None:
            return
        data = (self.work / SEEN).read_bytes()
        width = (
            self.settings.duplicates.permutations if self.seen.rules.near and self.settings.duplicates else 0
        )
        rows = np.frombuffer(data, np.dtype([("key", "V16"), ("signature", "<u4", (width,))]))
        self.seen.restore([key.tobytes() for key in rows["key"]], rows["signature"].astype(np.uint32))
        self.places = [json.loads(line) for line in (self.work / PLACES).read_text("utf-8").splitlines()]

    # --- documents --------------------------------------------------------------------------------------

    def take(self, size: int, batch: Batch, seconds: float) -> None:
        """Writes what stays of a batch of `size` records."""
        self._busy = True
        self.report.add(batch.report)
        signatures = batch.signatures
        bands = self.seen.band_keys(signatures) if self.seen is not None and signatures is not None else None
        for i, (record, key) in enumerate(zip(batch.records, batch.keys, strict=True)):
            row = signatures[i] if signatures is not None else np.zeros(0, np.uint32)
            if self._repeats(record, key, row, bands[i] if bands is not None else np.zeros(0, np.uint64)):
                continue
            held_out = is_held_out(record, key, self.settings)
            line = {"text": record.text, "source": record.source, "meta": dict(record.meta)}
            data = json.dumps(line, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"
            self._files[HELD_OUT if held_out else TRAIN].write(data)
            self.report.stay(record.text, str(record.meta.get("language", "")))
            self.report.held_out += held_out
        self.cursor += size
        self.report.seconds = seconds
        self._busy = False
        if time.monotonic() - self._saved >= SAVE_EVERY_S:
            self.save()

    def _repeats(self, record: Record, key: bytes, signature: U32, bands: Any) -> bool:
        if self.seen is None:
            return False
        rules = self.seen.rules
        begun = time.perf_counter()
        twin = self.seen.offer(key, signature, bands)
        exact = twin is not None and twin.exact
        if rules.exact:
            step = self.report.step("exact")
            step.title = "texts that are there already, but for case and white space"
            step.seen += 1
            if twin is not None and exact:
                step.drop("exact_duplicate", record.source, record.text, f"as {self.places[twin.number]}")
        if rules.near and not exact:
            step = self.report.step("near")
            step.title = f"near-duplicates, Jaccard {rules.threshold} and more: MinHash (Broder 1997)"
            step.seen += 1
            if twin is not None:
                like = f"{twin.similarity:.2f} like {self.places[twin.number]}"
                step.drop("near_duplicate", record.source, record.text, like)
            step.seconds += time.perf_counter() - begun
        if twin is None:
            self.places.append(record.source)
            self._files[SEEN].write(key + signature.astype("<u4").tobytes())
            self._files[PLACES].write(json.dumps(record.source).encode() + b"\n")
        return twin is not None

    # --- saving -----------------------------------------------------------------------------------------

    def save(self) -> None:
        """Notes how far the set is; what is written after this is cut off if the run breaks off."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        note = {
            "schema": SCHEMA,
            "identity": self.identity,
            "cursor": self.cursor,
            "sizes": {name: file.tell() for name, file in self._files.items()},
            "report": self.report.facts(),
        }
        put_json(self.work / NOTE, note)
        self._saved = time.monotonic()

    def finish(self) -> Report:
        """Puts the files in their places; the report last, so that its presence means a whole set."""
        self.report.identity = self.identity
        self.save()
        self._close()
        put_text(self.work / PAGE, markdown(self.report))
        put_json(self.work / REPORT, self.report.facts())
        _settle(self.folder)
        return self.report

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if not self.cursor:  # nothing was done: nothing is left behind
            self._close()
            with suppress(OSError):
                shutil.rmtree(self.work)
                self.folder.rmdir()
            return
        if self._files and not self._busy:
            with suppress(OSError):  # a full disk: what was noted before stays, and the first error is told
                self.save()
        self._close()


def read_report(folder: Path | str) -> Report:
    """The report of a finished set."""
    path = Path(folder) / REPORT
    if not path.is_file():
        raise ValueError(f"{folder}: holds no {REPORT}; name a folder that `loom data prepare` finished")
    return report_of(json.loads(path.read_text("utf-8")))


def record_of_line(line: str, place: str) -> Record:
    """The record of a line of train.jsonl or held-out.jsonl."""
    value = json.loads(line)
    return replace(Record(value["text"], value.get("source", place)), meta=value.get("meta", {}))
