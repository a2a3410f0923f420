"""Pictures of pixels decoded, for their words to be put in or looked for. Not what else a file holds."""

from __future__ import annotations

import io
import struct
import warnings
from typing import TYPE_CHECKING, Literal

from tokenloom.trust.fields import BadMedia

if TYPE_CHECKING:
    from PIL.Image import Image

DAMAGED = (OSError, SyntaxError, struct.error, EOFError, IndexError, KeyError, ValueError)
"""What Pillow raises for files that are not whole."""


def decode(data: bytes, kind: Literal["PNG", "WebP", "JPEG"]) -> Image:
    """The picture as RGB or RGBA with 8 bits; BadMedia when it is damaged, animated or too large."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(data), formats=[kind.upper()])
            moves = kind != "JPEG" and getattr(image, "is_animated", False)  # a phone's JPEG holds two views
            if not moves:
                image.load()
    except DAMAGED as error:
        raise BadMedia(f"the {kind} is damaged: {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadMedia(f"the {kind} is too large: {error}") from error
    if moves:
        raise BadMedia(f"animated {kind} files are not labelled here: label each frame, or a video")
    if image.mode.startswith("I"):
        import numpy as np

        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    clear = "A" in image.getbands() or "transparency" in image.info
    return image.convert("RGBA" if clear else "RGB")
