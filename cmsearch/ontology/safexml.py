"""Reading XML from anywhere: no document types, no entities, no wrong encodings."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from cmsearch.errors import OntologyError


def checked_root(data: bytes, name: str) -> str:
    """Return the tag of the root element of an XML file, if it is safe to read on.

    A document type may define entities that grow without end or read other files; the
    official files have none.

    Raises:
        OntologyError: the XML has a document type other than HTML's, is damaged at its
            beginning, or is not in the encoding that it declares.
    """
    tags: list[str] = []

    def refuse(*_: object) -> None:
        raise OntologyError(
            f"{name}: the XML has a document type (DOCTYPE), which official files do not have; "
            "it is not read: download the file again from CDC"
        )

    def start(tag: str, _: dict[str, str]) -> None:
        tags.append(tag)
        parser.StartElementHandler = None

    def doctype(root: str, *_: object) -> None:
        if root.lower() == "html":
            tags.append(root)
        else:
            refuse()

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    encoding = ["utf-8"]

    def declared(_: str, encoded: str | None, __: int) -> None:
        encoding[0] = encoded or "utf-8"

    parser.XmlDeclHandler = declared
    try:
        for offset in range(0, len(data), 4096):
            parser.Parse(data[offset : offset + 4096])
            if tags:
                break
    except (expat.ExpatError, ValueError, LookupError) as error:
        _check_encoding(data, encoding[0], name)
        raise _broken(name, error) from error
    if not tags:
        raise OntologyError(f"{name}: the XML ends before it begins; download it again")
    _check_encoding(data, encoding[0], name)
    return tags[0]


def _check_encoding(data: bytes, encoding: str, name: str) -> None:
    """Refuse an XML file that is not written in the encoding that it declares."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        if encoding.lower().startswith("utf-16"):
            return
        raise OntologyError(
            f"{name}: the XML says that it is {encoding}, but is written in UTF-16; "
            "download it again rather than saving it from an editor"
        )
    if encoding.lower() not in ("utf-8", "utf8"):
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise OntologyError(
            f"{name}, line {line}: the XML says that it is UTF-8, but the byte "
            f"0x{data[error.start]:02X} is not (Latin-1?); download it again rather than saving "
            "it from an editor"
        ) from error


def parsed(data: bytes, name: str) -> Element:
    """Return the root of an XML file whose beginning was checked.

    Raises:
        OntologyError: the XML is damaged or incomplete.
    """
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> OntologyError:
    return OntologyError(f"{name}: not a complete XML file ({error}); download it again")


def text_of(element: Element | None) -> str:
    """Return the text of an element and all below it, without line breaks; empty for None."""
    return "" if element is None else " ".join("".join(element.itertext()).split())
