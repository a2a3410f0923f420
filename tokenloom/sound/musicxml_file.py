"""The bytes of MusicXML as a tree: plain (.musicxml, .xml) or in a zip (.mxl), entities and bombs refused.

Source: MusicXML 4.0, "Compressed .mxl files"; defusedxml refuses declared entities, and nothing outside the
file is ever read: the document type that MusicXML names is not fetched.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

LARGEST = 32_000_000
"""Bytes of a score's XML at most, unpacked."""


def read_tree(source: Path | str | bytes) -> Element:
    """The root of a MusicXML file or its bytes. ValueError says what is wrong with it."""
    name = "the MusicXML data" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _bytes(Path(source))
    if not data.strip():
        raise ValueError(f"{name} is empty, no MusicXML")
    if data.startswith(b"PK"):
        data = _unpacked(data, name)
    return _parsed(data, name)


def _bytes(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; at most {LARGEST} of MusicXML are read")
    return path.read_bytes()


def _parsed(data: bytes, name: str) -> Element:
    from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
    from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

    if len(data) > LARGEST:
        raise ValueError(f"{name} has {len(data)} bytes of XML; at most {LARGEST} are read")
    try:
        root: Element = fromstring(data, forbid_dtd=False, forbid_entities=True, forbid_external=True)
    except DefusedXmlException as error:
        raise ValueError(f"{name} declares entities, which are not read: {error}") from error
    except (ParseError, LookupError, ValueError) as error:
        raise ValueError(f"{name} is no whole XML file: {error}") from error
    return root


def _unpacked(data: bytes, name: str) -> bytes:
    """The score within a .mxl: the first root file that META-INF/container.xml names."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            container = _parsed(_member(archive, "META-INF/container.xml", name), name)
            found = next(
                (one.get("full-path", "") for one in container.iter() if _local(one) == "rootfile"), ""
            )
            if not found:
                raise ValueError(f"{name}: META-INF/container.xml names no root file")
            return _member(archive, found, name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"{name} is a damaged .mxl file: {error}") from error


def _member(archive: zipfile.ZipFile, path: str, name: str) -> bytes:
    try:
        info = archive.getinfo(path)
    except KeyError as error:
        raise ValueError(f"{name} is a zip without {path}; a .mxl file holds it") from error
    with archive.open(info) as file:
        data = file.read(LARGEST + 1)  # the size that the zip states may lie
    if len(data) > LARGEST:
        raise ValueError(f"{name}: {path} unpacks to more than {LARGEST} bytes, which is not read")
    return data


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
