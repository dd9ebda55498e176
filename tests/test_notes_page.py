"""The HTML page and the stretches of a note that pages show."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from tiny import code10

from cmsearch.notes.marks import printable, stretches
from cmsearch.notes.page import page
from cmsearch.types import Assertion, Mention, Suggestion

EVIL = (
    '<script>alert(1)</script> <img src=x onerror="alert(2)"> fever & "chills" \'no\' '
    "</div></style><svg/onload=alert(3)> javascript:alert(4) \x00\x1b[31m \ud800 cough"
)
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Outline(HTMLParser):
    """Reads a page as a browser does, more or less: tags, attributes, text, balance."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: dict[str, str] = {}
        self.marked: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style",):
            inside = "mark" if "mark" in self.open else self.open[-1]
            if "sup" not in self.open and "span" not in self.open:
                self.words[inside] = self.words.get(inside, "") + data

    def ids(self) -> list[str]:
        return [value for _, found in self.tags if (value := found.get("id"))]


def mention(text: str, words: str, assertion: Assertion = Assertion.PRESENT) -> Mention:
    begin = text.index(words)
    return Mention(words, begin, begin + len(words), "history <b>", assertion)


def suggestion(rank: int, evidence: tuple[Mention, ...], **more: object) -> Suggestion:
    return Suggestion(
        rank, code10("R50.9"), "Fever, unspecified", "one", 0.734, evidence,
        "the note has the words of <its> title", **more,  # type: ignore[arg-type]
    )  # fmt: skip


def evil_page() -> str:
    warnings = ("excludes1: not with “<x>” & others [Official Guidelines I.A.12.a]",)
    found = [
        suggestion(1, (mention(EVIL, "fever"), mention(EVIL, "<script>")), warnings=warnings),
        suggestion(2, (mention(EVIL, "cough", Assertion.POSSIBLE),)),
        suggestion(3, (mention(EVIL, "chills", Assertion.NEGATED),), suppressed="negated: no [II]"),
    ]
    return page(EVIL, found, "ICD-10-CM <one>", name='<b onclick="x">.txt')


def test_nothing_of_a_note_becomes_markup():
    seen = Outline(evil_page())
    assert seen.open == []
    allowed = {
        "html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "p", "main",
        "section", "ul", "ol", "li", "mark", "div", "a", "sup", "span", "strong", "small",
        "details", "summary", "footer",
    }  # fmt: skip
    assert {tag for tag, _ in seen.tags} <= allowed
    for _, found in seen.tags:
        assert not [name for name in found if name.startswith("on")]
        assert (found.get("href") or "#").startswith("#")
        assert "src" not in found


def test_the_note_is_there_word_for_word():
    seen = Outline(evil_page())
    assert seen.words["mark"].count("fever") == 1
    assert '<img src=x onerror="alert(2)">' in seen.words["div"]
    assert "\x00" not in evil_page()
    assert "\x1b" not in evil_page()
    evil_page().encode("utf-8")  # no half of a surrogate pair is left


def test_the_page_stands_alone():
    text = evil_page()
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert not re.search(r"https?://", text)


def test_evidence_and_codes_point_to_each_other():
    text = evil_page()
    seen = Outline(text)
    assert len(seen.ids()) == len(set(seen.ids()))
    targets = {found["href"][1:] for tag, found in seen.tags if tag == "a" and "href" in found}
    assert targets
    assert targets <= set(seen.ids())
    codes = [
        found for tag, found in seen.tags if tag == "li" and (found.get("id") or "")[:1] == "c"
    ]
    assert [found["tabindex"] for found in codes] == ["0", "0", "0"]
    for rank in (1, 2, 3):
        assert f"body:has(#c{rank}:focus-within) mark.c{rank}" in text
        assert any(f"c{rank}" in (found.get("class") or "").split() for _, found in seen.tags)


def test_readers_hear_what_is_not_present_and_see_what_is_held_back():
    text = evil_page()
    assert '<span class="unseen"> (possible)</span>' in text
    assert '<span class="unseen"> (present)</span>' not in text
    assert "2 codes suggested, 1 held back" in text
    assert "Held back (1)" in text
    assert '<html lang="en">' in text
    assert "73&nbsp;%" in text


def test_a_note_without_codes_is_a_page_too():
    seen = Outline(page("", [], "one"))
    assert seen.open == []
    assert "No code is likely enough." in seen.words["p"]


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_have_the_contrast_that_wcag_asks_for():
    light, dark = re.findall(
        r"color-scheme: light dark;(.*?)\}.*?:root \{(.*?)\}", page("", [], ""), re.S
    )[0]
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", scheme))
        inks = ("ink", "soft", "accent", "check", "held", *(item.value for item in Assertion))
        pairs = [(ink, paper) for ink in inks for paper in ("paper", "raised")]
        for ink, paper in (*pairs, ("lit-ink", "lit")):
            first, second = sorted((luminance(colours[ink]), luminance(colours[paper])))
            assert (second + 0.05) / (first + 0.05) >= 4.5, (ink, paper)


@given(st.integers(0, 30), st.lists(st.tuples(st.integers(-2, 32), st.integers(1, 9)), max_size=8))
def test_stretches_cover_a_note_once(length, places):
    mentions = [
        (number, Mention("", begin, begin + size, "", Assertion.PRESENT))
        for number, (begin, size) in enumerate(places, start=1)
    ]
    found = list(stretches(length, mentions))
    covered = [place for item in found for place in range(item.begin, item.end)]
    assert covered == list(range(length))
    for item in found:
        for place in range(item.begin, item.end):
            naive = {number for number, one in mentions if one.begin <= place < one.end}
            assert set(item.ranks) == naive
            assert (item.assertion is None) == (not naive)
    ends = [number for item in found for number in item.last]
    assert len(ends) == len(set(ends))


def test_the_nearest_mention_gives_the_assertion():
    wide = Mention("", 0, 10, "", Assertion.NEGATED)
    narrow = Mention("", 2, 4, "", Assertion.PRESENT)
    found = list(stretches(10, [(1, wide), (2, narrow)]))
    assert [item.assertion for item in found] == [
        Assertion.NEGATED, Assertion.PRESENT, Assertion.NEGATED,
    ]  # fmt: skip


def test_printable():
    assert printable("a\x1b[2J\x07b\r\nc\rd\te") == "a\ufffd[2J\ufffdb\nc\nd\te"
    assert printable("\u202eabc", directions=False) == "abc"
    assert printable("\u202eשלום") == "\u202eשלום"
