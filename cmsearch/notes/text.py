"""Reading a note: bytes of any encoding become text, whose code points all offsets count."""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from cmsearch.errors import NoteError, OntologyError, need
from cmsearch.ontology.safexml import checked_root, parsed

MAX_BYTES = 64 * 2**20
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_KINDS = (
    (b"%PDF", "a PDF file", "extract its text first (pdftotext)"),
    (b"PK\x03\x04", "a zip or Office file", "save the note as plain text"),
    (b"\x1f\x8b", "a gzip file", "unpack it first"),
    (b"\xd0\xcf\x11\xe0", "an old Office file", "save the note as plain text"),
    (b"\x89PNG", "an image", "read its text with an OCR program first"),
    (b"\xff\xd8\xff", "an image", "read its text with an OCR program first"),
    (b"II*\x00", "an image", "read its text with an OCR program first"),
    (b"MM\x00*", "an image", "read its text with an OCR program first"),
    (b"\x7fELF", "a program", "name the note's own file"),
)
_CONTROL = re.compile(r"[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_HALF = re.compile(r"[\ud800-\udfff]")  # half a character, which no file can hold
_BLANKS = re.compile(r"\s+")
_CDA = "{urn:hl7-org:v3}"
_BLOCKS = frozenset(
    f"{_CDA}{tag}" for tag in ("title", "text", "paragraph", "item", "tr", "caption", "br", "list")
)
_CELLS = frozenset((f"{_CDA}td", f"{_CDA}th"))


# A name of more words may be a note that was typed for its file; it is not repeated.
_MOST_WORDS_OF_NAME = 2


def read_note(source: Path | bytes) -> str:
    """Return the text of a note: plain text, RTF, FHIR DocumentReference JSON or CDA XML.

    Plain text keeps every character, line ends too; only a byte order mark is dropped. It
    is UTF-8, UTF-16 or UTF-32 by its mark, else UTF-8; bytes that are no UTF-8 are read as
    Windows-1252, one by one. Of the other formats it is the text inside.

    Raises:
        NoteError: the file cannot be read, is too large, or is no text.
    """
    if isinstance(source, bytes):
        return _text(source, "the note")
    try:
        with source.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no valid path"
        words = len(str(source.name).split())
        name = f"{source}" if words <= _MOST_WORDS_OF_NAME else "what was named"
        raise NoteError(
            f"{name}: cannot be read ({reason}); check the path; the words of a note itself "
            "are read from standard input, with -"
        ) from error
    return _text(data, str(source))


def decoded(data: bytes, name: str = "the note") -> str:
    """Return bytes as text.

    Raises:
        NoteError: the bytes are binary, or not in the encoding that their mark names.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _strict(data[len(mark) :], encoding, name)
    wide = _wide_encoding(data)
    if wide:
        return _strict(data, wide, name)
    text = data.decode("utf-8", errors=_ERRORS)
    odd = len(_CONTROL.findall(text)) + text.count("\0")
    if odd > 8 and odd > 0.05 * len(text):
        raise NoteError(
            f"{name}: no text (one character in {len(text) // odd} is a control character); "
            "give plain text, RTF, FHIR DocumentReference JSON or CDA XML"
        )
    return text


def _text(data: bytes, name: str) -> str:
    if len(data) > MAX_BYTES:
        raise NoteError(
            f"{name}: larger than {MAX_BYTES // 2**20} MiB, which no note is; split the record"
        )
    for magic, kind, advice in _KINDS:
        if data.startswith(magic):
            raise NoteError(f"{name}: {kind}, not a text; {advice}")
    text = decoded(data, name)
    start = text[:2000].lstrip()
    if start.startswith("{\\rtf"):
        return _rtf(text, name)
    if start.startswith("{") and '"DocumentReference"' in text:
        return _fhir(text, name)
    if start.startswith("<") and "<ClinicalDocument" in text[:20_000]:
        return _cda(data, name)
    return text


def _strict(data: bytes, encoding: str, name: str) -> str:
    """Decode, with U+FFFD for what is half a character; refuse what is mostly that."""
    text = data.decode(encoding, errors=_ERRORS if encoding == "utf-8" else "replace")
    wrong = text.count("\ufffd")
    if wrong > 8 and wrong > 0.05 * len(text):
        raise NoteError(
            f"{name}: begins like {encoding.upper()[:6]} but is not written in it; "
            "save the note as UTF-8"
        )
    return text


def _wide_encoding(data: bytes) -> str:
    """Return UTF-16's name if every other byte of a Latin text is NUL; empty if not."""
    head = data[:4096]
    half = len(head) // 2
    if half < 2:
        return ""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if odd > 0.7 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.7 * half and odd < 0.05 * half else ""


def _as_windows(error: UnicodeError) -> tuple[str, int]:
    """Read bytes that are no UTF-8 as Windows-1252; the five it lacks become U+FFFD."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return wrong.decode("cp1252", errors="replace"), error.end


_ERRORS = "cmsearch.note"
codecs.register_error(_ERRORS, _as_windows)


def _rtf(text: str, name: str) -> str:
    reader = need("striprtf.striprtf", extra="notes")
    try:
        return _HALF.sub("\ufffd", reader.rtf_to_text(text, errors="replace"))
    except (ValueError, LookupError, ArithmeticError, AttributeError, TypeError) as error:
        fault = type(error).__name__
    raise NoteError(f"{name}: damaged RTF ({fault}); save the note as plain text")


def _fhir(text: str, name: str) -> str:
    """Return the texts of a DocumentReference's attachments, one after another."""
    try:
        resource = json.loads(text)
    except (ValueError, RecursionError):
        return text  # a plain note that quotes JSON
    if not isinstance(resource, dict) or resource.get("resourceType") != "DocumentReference":
        return text
    found = [_attachment(item, name) for item in _attachments(resource)]
    if not found:
        raise NoteError(
            f"{name}: the DocumentReference holds no text (content.attachment.data); nothing "
            "is fetched from a url: put the text in, in base64"
        )
    return "\n\n".join(found)


def _attachments(resource: dict[str, Any]) -> Iterator[str]:
    content = resource.get("content")
    for part in content if isinstance(content, list) else []:
        attachment = part.get("attachment") if isinstance(part, dict) else None
        data = attachment.get("data") if isinstance(attachment, dict) else None
        if isinstance(data, str):
            yield data


def _attachment(data: str, name: str) -> str:
    try:
        inner = base64.b64decode(data, validate=False)
    except (binascii.Error, ValueError):
        fault = f"{name}: content.attachment.data is no base64; encode the text again"
    else:
        return _text(inner, f"{name} (attachment)")
    raise NoteError(fault)


def _cda(data: bytes, name: str) -> str:
    """Return titles and texts of a clinical document, a line for each block."""
    try:
        checked_root(data, name)
        root = parsed(data, name)
    except OntologyError:
        fault = f"{name}: no safe or complete CDA XML (damaged, or with a DOCTYPE); export it again"
    else:
        parts: list[str] = []
        for section in root.iter(f"{_CDA}section"):
            for tag in ("title", "text"):
                element = section.find(f"{_CDA}{tag}")
                if element is not None:
                    parts += _block_text(element)
        return re.sub(r" *\n\s*", "\n", "".join(parts)).strip()
    raise NoteError(fault)


def _block_text(root: Element) -> Iterator[str]:
    """Yield the texts below an element, with line ends at blocks and tabs between cells."""
    stack: list[tuple[Element, bool]] = [(root, False)]
    while stack:
        element, closing = stack.pop()
        block, cell = element.tag in _BLOCKS, element.tag in _CELLS
        if closing:
            yield "\n" if block else "\t" if cell else ""
            if element is not root:
                yield _BLANKS.sub(" ", element.tail or "")
            continue
        yield "\n" if block else ""
        yield _BLANKS.sub(" ", element.text or "")
        stack.append((element, True))
        stack += [(child, False) for child in reversed(element)]
