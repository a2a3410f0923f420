"""Private data in text: where it is (`find`), and the text without it (`scrub`).

Not names and postal addresses: no rule finds those well. Not a promise either: what has no fixed shape or
checksum, or is written to be missed, is missed.
"""

from tokenloom.privacy.find import DEFAULT, KINDS, Style, find, scrub
from tokenloom.privacy.found import Found

__all__ = ["DEFAULT", "KINDS", "Found", "Style", "find", "scrub"]
