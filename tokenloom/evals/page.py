"""A report as one HTML page that needs nothing else: no script, no font, no picture from anywhere.

Not what it says (report.py): it turns the report's Markdown into HTML and puts the figures in. What a model
wrote stands in the Markdown as code, so none of it becomes markup; the page forbids itself to load anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #8886; }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top; }
th, td { border-bottom: 1px solid #8884; }
td[style*="right"], th[style*="right"] { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: #8881; padding: .7rem; overflow-x: auto; white-space: pre-wrap; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; border: 1px solid #8884; }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_FIGURE = re.compile(r"<p><img src=\"([^\"]+)\" alt=\"([^\"]*)\" ?/?></p>")


def page(markdown: str, figures: Mapping[str, str], title: str, language: str = "en") -> str:
    """The page. figures: file name -> SVG, put where the Markdown shows that picture; ValueError where it
    shows another one."""
    from markdown_it import MarkdownIt

    text = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)

    def put(found: re.Match[str]) -> str:
        if found[1] not in figures:
            raise ValueError(f"report: shows {found[1]}, which is no figure of it")
        return f"<figure>{figures[found[1]]}</figure>"

    body = _FIGURE.sub(put, text)
    return (
        f'<!doctype html>\n<html lang="{escape(language)}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
