"""Fetching from the Hub: resumable, every file checked. Which files: choose.py.

huggingface_hub finds the repository, the token and the addresses (HF_ENDPOINT, HF_TOKEN and its other
variables hold); transfer.py moves the bytes. Large files are checked by their LFS sha256, small ones by their
git hash, both from the Hub's metadata for the one commit that all files come from.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tokenloom.hub.choose import choose
from tokenloom.hub.hashes import git_hash_of, sha256_of
from tokenloom.hub.pipeline import PIPELINE, BadPipeline, Pipeline, parse_index
from tokenloom.hub.store import PullError, check_space, partial_of, read_record, write_record

Progress = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch."""

    path: str
    size: int
    sha256: str
    """Of an LFS file; else empty."""
    git_hash: str
    """Of a small file; empty for LFS."""

    @property
    def name(self) -> str:
        """Where it lies in the model's folder: a GGUF file at its top, any other where it was."""
        path = PurePosixPath(self.path)
        return path.name if path.suffix.lower() == ".gguf" else str(path)

    @property
    def hash(self) -> str:
        return self.sha256 or self.git_hash


def endpoint() -> str:
    """The Hub's address: HF_ENDPOINT, else huggingface_hub's own."""
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or constants.ENDPOINT


def fetch_hub(name: str, repo: str, revision: str, choice: str, progress: Progress) -> Path:
    """The partial folder of model `name`, holding its verified files and record. PullError otherwise."""
    with plain_errors(repo, revision):
        commit, listing = _listing(repo, revision)
    folder = partial_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    index = None
    if PIPELINE in listing:
        with plain_errors(repo, revision):
            index = _index(repo, commit, listing[PIPELINE], folder)
    kind, wanted = choose(repo, sorted(listing), choice, index)
    files = [listing[path] for path in wanted]
    have = {n: f["hash"] for n, f in read_record(folder).get("files", {}).items() if (folder / n).is_file()}
    _drop_strays(folder, files, have)
    total = sum(f.size for f in files)
    done = sum(f.size if have.get(f.name) == f.hash else _part_size(folder, f) for f in files)
    check_space(total - done, f"model {name!r}")
    record = {"name": name, "source": f"hub:{repo}", "revision": revision, "commit": commit, "kind": kind}
    whole: dict[str, dict[str, object]] = {}
    before = 0
    for file in files:
        if have.get(file.name) != file.hash:
            with plain_errors(repo, revision):
                _fetch(repo, commit, file, folder, lambda n, start=before: progress(start + n, total))  # type: ignore[misc]
        before += file.size
        progress(before, total)
        whole[file.name] = {"size": file.size, "hash": file.hash}
        write_record(folder, {**record, "files": whole})
    return folder


def _index(repo: str, commit: str, file: RemoteFile, folder: Path) -> Pipeline:
    """What a repository of diffusers names as its parts."""
    if not (folder / file.name).is_file() or git_hash_of(folder / file.name) != file.git_hash:
        _fetch(repo, commit, file, folder, lambda done: None)
    try:
        return parse_index((folder / file.name).read_bytes(), f"{PIPELINE} of {repo}")
    except BadPipeline as error:
        raise PullError(str(error)) from error


def _listing(repo: str, revision: str) -> tuple[str, dict[str, RemoteFile]]:
    """(commit, every file of it by path)."""
    from huggingface_hub import HfApi

    info = HfApi(endpoint=endpoint()).model_info(repo, revision=revision, files_metadata=True, timeout=30)
    files = {}
    for sibling in info.siblings or []:
        sha256 = sibling.lfs.sha256 if sibling.lfs else ""
        size = sibling.lfs.size if sibling.lfs else sibling.size
        if size is not None and (sha256 or sibling.blob_id):
            git_hash = "" if sha256 else str(sibling.blob_id)
            files[sibling.rfilename] = RemoteFile(sibling.rfilename, size, sha256, git_hash)
    if not info.sha:
        raise PullError(f"the Hub at {endpoint()} named no commit for {repo}")
    return info.sha, files


def _part(folder: Path, file: RemoteFile) -> Path:
    """Where an unfinished file lies; its hash in the name keeps two versions apart."""
    return folder / f"{file.name}.{file.hash[:16]}.part"


def _part_size(folder: Path, file: RemoteFile) -> int:
    part = _part(folder, file)
    return part.stat().st_size if part.is_file() else 0


def _drop_strays(folder: Path, files: list[RemoteFile], have: dict[str, str]) -> None:
    """Deletes what an earlier pull of another commit or choice left."""
    keep = {_part(folder, f) for f in files}
    keep |= {folder / f.name for f in files if have.get(f.name) == f.hash}
    for path in list(folder.rglob("*")):
        if path not in keep and path.is_file():
            path.unlink()


def _fetch(repo: str, commit: str, file: RemoteFile, folder: Path, report: Callable[[int], None]) -> None:
    """Continues or starts one file, checks it, gives it its name."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    from tokenloom.hub.transfer import download

    part = _part(folder, file)
    part.parent.mkdir(exist_ok=True)
    if _part_size(folder, file) > file.size:
        part.unlink()
    with part.open("ab") as sink:
        url = hf_hub_url(repo, file.path, revision=commit, endpoint=endpoint())
        download(url, build_hf_headers(), sink, file.size, report)
    measured = sha256_of(part) if file.sha256 else git_hash_of(part)
    if measured != file.hash:
        part.unlink()
        raise PullError(
            f"{file.name} of {repo} arrived damaged: its hash is {measured}, the Hub states {file.hash}. "
            "The file was deleted; pull again"
        )
    os.replace(part, folder / file.name)


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the HTTP library under this version of huggingface_hub raises."""
    names = {"httpx2": "HTTPError", "httpx": "HTTPError", "requests": "RequestException"}
    return tuple(getattr(sys.modules[m], error) for m, error in names.items() if m in sys.modules)


@contextmanager
def plain_errors(repo: str, revision: str) -> Iterator[None]:
    """Turns what huggingface_hub raises into one PullError sentence that says what to do."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise PullError(
            f"{repo} is gated: accept its terms on the Hub's page, then set HF_TOKEN to a token of yours"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise PullError(
            f"{endpoint()} has no repository {repo!r} that may be read; for a private one set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise PullError(f"{repo} has no revision {revision!r}") from error
    except errors.HFValidationError as error:
        raise PullError(f"{repo!r} is no Hub repository name: {error}") from error
    except errors.OfflineModeIsEnabled as error:
        raise PullError(f"{repo} cannot be fetched: HF_HUB_OFFLINE is set; unset it to go online") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no status"
        hint = "; is HF_TOKEN right?" if status in (401, 403) else ""
        raise PullError(f"{endpoint()} answered {status} for {repo}{hint}") from error
    except _transport_errors() as error:
        raise PullError(
            f"the connection to {endpoint()} failed ({error}). Is this machine offline? What arrived is "
            "kept: the same command goes on from there. A mirror is set with HF_ENDPOINT"
        ) from error
    except OSError as error:
        raise PullError(
            f"{repo} could not be fetched: {error}; the same command goes on from there"
        ) from error
