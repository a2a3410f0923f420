"""Models by name: the catalogue, fetching, what is installed. Reads no weights."""

from tokenloom.hub.entries import Entry, catalogue
from tokenloom.hub.fetch import pull
from tokenloom.hub.store import (
    Found,
    NotInstalled,
    PullError,
    UnknownModel,
    disk_use,
    find,
    installed,
    recognisers,
    remove,
    shipped,
)

__all__ = [
    "Entry",
    "Found",
    "NotInstalled",
    "PullError",
    "UnknownModel",
    "catalogue",
    "disk_use",
    "find",
    "installed",
    "pull",
    "recognisers",
    "remove",
    "shipped",
]
