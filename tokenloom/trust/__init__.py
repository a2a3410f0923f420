"""Labels that say a work is AI-generated: visible, hidden, and read back. Called where a work leaves."""

from tokenloom.trust.fields import WORDS, BadLabel, BadMedia, Label, check_producer
from tokenloom.trust.jpeg import label_jpeg
from tokenloom.trust.label import Labelled, label, label_work
from tokenloom.trust.notation import label_notation
from tokenloom.trust.png import label_png
from tokenloom.trust.text import label_markdown, label_text
from tokenloom.trust.verify import Report, read_label, verify
from tokenloom.trust.wav import label_wav
from tokenloom.trust.webp import label_webp

__all__ = [
    "WORDS",
    "BadLabel",
    "BadMedia",
    "Label",
    "Labelled",
    "Report",
    "check_producer",
    "label",
    "label_jpeg",
    "label_markdown",
    "label_notation",
    "label_png",
    "label_text",
    "label_wav",
    "label_webp",
    "label_work",
    "read_label",
    "verify",
]
