"""Rows of a data set on the Hugging Face Hub, streamed by the `datasets` library: nothing is kept on disk.

    hub:org/name[@revision][:config][:split]

With one name after the set's, it is a config if the set has one of that name, else a split; without a split,
it is "train", or the only one there is. HF_ENDPOINT and HF_TOKEN hold. Nothing is asked of the network unless
the caller allows it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tokenloom.data.documents import Item, Reading
from tokenloom.data.record import BadRecord, DataError, Row
from tokenloom.data.structured import check_columns, without_null

PREFIX = "hub:"
_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?(?P<rest>(:[\w.+-]*){0,2})")


@dataclass(frozen=True)
class HubSet:
    """What a name asks for; "" where it says nothing."""

    repo: str
    revision: str = ""
    config: str = ""
    split: str = ""

    @property
    def name(self) -> str:
        return self.repo + (f"@{self.revision}" if self.revision else "")


def parse(name: str) -> tuple[HubSet, bool]:
    """(the set, whether its config may be a split). DataError says what a name looks like."""
    match = _NAME.fullmatch(name.removeprefix(PREFIX))
    if match is None:
        raise DataError(
            f"{name}: found no data set's name; allowed: hub:org/name[@revision][:config][:split]"
        )
    parts = match["rest"].split(":")[1:]
    config, split = (*parts, "", "")[:2]
    return HubSet(match["repo"], match["revision"] or "", config, split), len(parts) == 1


def check_online(name: str, online: bool) -> None:
    """DataError unless the network may be asked."""
    from huggingface_hub import constants

    if not online:
        raise DataError(
            f"{name} is on the Hub, and going online was not allowed: allow it, or name local files"
        )
    if constants.HF_HUB_OFFLINE:
        raise DataError(f"{name} cannot be read: HF_HUB_OFFLINE is set; unset it to go online")


def hub_rows(name: str, how: Reading) -> Iterator[Item]:
    """The rows of a data set in its own order. DataError where it cannot be found or read."""
    import datasets

    wanted, open_name = parse(name)
    with _plain_errors(wanted):
        wanted = _resolved(wanted, open_name)
        rows: Any = datasets.load_dataset(
            wanted.repo,
            wanted.config,
            split=wanted.split,
            revision=wanted.revision or None,
            streaming=True,
        )
        if rows.features is not None:
            check_columns(name, list(rows.features), how.columns)
            rows = rows.decode(False)  # pictures and sounds stay bytes: only text is wanted
        label = f"{PREFIX}{wanted.name}:{wanted.config}:{wanted.split}"
        how.note(f"{name} is read as {label}")
    number = 0
    stream = iter(rows)
    while True:
        with _plain_errors(wanted, number):
            value = next(stream, None)
        if value is None:
            return
        number += 1
        place = f"{label}:{number}"
        yield (
            Row(without_null(value), place)
            if isinstance(value, dict)
            else BadRecord(place, "it is no row of a table")
        )


def _resolved(wanted: HubSet, open_name: bool) -> HubSet:
    """With its config and split named."""
    import datasets

    revision = wanted.revision or None
    configs = datasets.get_dataset_config_names(wanted.repo, revision=revision)
    config, split = wanted.config, wanted.split
    if open_name and config not in configs:
        config, split = "", config
    if not config and len(configs) > 1 and "default" not in configs:
        raise DataError(f"{PREFIX}{wanted.name} has several configs, name one: {', '.join(configs)}")
    config = config or ("default" if "default" in configs else configs[0])
    if config not in configs:
        raise DataError(f"{PREFIX}{wanted.name} has no config {config!r}; it has: {', '.join(configs)}")
    splits = datasets.get_dataset_split_names(wanted.repo, config, revision=revision)
    if not split and ("train" in splits or len(splits) == 1):
        split = "train" if "train" in splits else splits[0]
    if split not in splits:
        found = f"has no split {split!r}" if split else "has several splits, and no train"
        raise DataError(f"{PREFIX}{wanted.name}:{config} {found}; its splits are: {', '.join(splits)}")
    return HubSet(wanted.repo, wanted.revision, config, split)


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the HTTP libraries in use raise."""
    names = {
        "httpx2": "HTTPError",
        "httpx": "HTTPError",
        "requests": "RequestException",
        "aiohttp": "ClientError",
    }
    return tuple(getattr(sys.modules[m], error) for m, error in names.items() if m in sys.modules)


@contextmanager
def _plain_errors(wanted: HubSet, row: int | None = None) -> Iterator[None]:
    """Turns what goes wrong on the way into one DataError."""
    import datasets
    from huggingface_hub import errors
    from pyarrow import ArrowException

    name = PREFIX + wanted.name
    where = "" if row is None else f" after row {row}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise DataError(f"{name} is gated: accept its terms on the Hub's page, then set HF_TOKEN") from error
    except (errors.RepositoryNotFoundError, datasets.exceptions.DatasetNotFoundError) as error:
        raise DataError(
            f"{name}: the Hub has no such data set that may be read; is HF_TOKEN needed?"
        ) from error
    except DataError:
        raise
    except (
        errors.HfHubHTTPError,
        datasets.exceptions.DatasetsError,
        ArrowException,
        OSError,
        ValueError,
        *_transport_errors(),
    ) as error:
        raise DataError(f"{name} could not be read{where}: {error}") from error
