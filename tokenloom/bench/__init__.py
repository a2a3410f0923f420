"""`loom bench`: measurements side by side with peers. Peers run in environments of their own."""

from tokenloom.bench.compare import run

__all__ = ["run"]
