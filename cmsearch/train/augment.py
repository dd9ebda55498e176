"""What people type instead of the proper words: slips, shorthand, fillers, order."""

from __future__ import annotations

import random
import re

from cmsearch.wording import SHORTHAND

_SHORTEN = {long: short for short, long in SHORTHAND.items()}
_SHORTEN_PATTERN = re.compile(
    r"\b(" + "|".join(sorted(map(re.escape, _SHORTEN), key=len, reverse=True)) + r")\b",
    re.IGNORECASE | re.ASCII,
)
_BRITISH = (
    ("hem", "haem"),
    ("anem", "anaem"),
    ("edem", "oedem"),
    ("esoph", "oesoph"),
    ("diarrhe", "diarrhoe"),
    ("tumor", "tumour"),
    ("fet", "foet"),
    ("ped", "paed"),
    ("cec", "caec"),
    ("leuke", "leukae"),
    ("ischem", "ischaem"),
    ("estr", "oestr"),
)
_FILLERS = (
    "pt c/o {}",
    "patient with {}",
    "c/o {}",
    "pt has {}",
    "i have {}",
    "my {} ",
    "{} again",
    "r/o {}",
    "? {}",
    "dx: {}",
    "likely {}",
    "{} nos",
    "eval for {}",
    "what is the code for {}",
    "icd 10 {}",
    "{} follow up",
    "seen for {}",
)
_KEYS = {"a": "qs", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj",
         "i": "uo", "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o",
         "q": "w", "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc",
         "y": "tu", "z": "x"}  # fmt: skip


def augment(text: str, chance: random.Random) -> str:
    """Return the text changed in one of the ways people change it."""
    changes = (misspell, misspell, shorten, british, shuffle_words, truncate_word, add_filler)
    return chance.choice(changes)(text, chance)


def misspell(text: str, chance: random.Random) -> str:
    """Return the text with one slip of the finger in a word of five letters or more."""
    words = list(re.finditer(r"[A-Za-z]{5,}", text))
    if not words:
        return text
    word = chance.choice(words)
    at = chance.randrange(word.start() + 1, word.end() - 1)
    kind = chance.randrange(5)
    if kind == 0:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if kind == 1:
        return text[:at] + text[at + 1 :]
    if kind == 2:
        return text[:at] + text[at] + text[at:]
    if kind == 3:
        near = _KEYS.get(text[at].lower(), text[at])
        return text[:at] + chance.choice(near) + text[at + 1 :]
    vowels = "aeiou"
    if text[at].lower() in vowels:
        return text[:at] + chance.choice(vowels) + text[at + 1 :]
    return text[:at] + text[at + 1 :]


def shorten(text: str, chance: random.Random) -> str:
    """Return the text with one phrase in chart shorthand (fracture: fx)."""
    matches = list(_SHORTEN_PATTERN.finditer(text))
    if not matches:
        return text
    match = chance.choice(matches)
    return text[: match.start()] + _SHORTEN[match[0].lower()] + text[match.end() :]


def british(text: str, chance: random.Random) -> str:
    """Return the text in British spelling."""
    lower = text.lower()
    for american, other in _BRITISH:
        if american in lower and other not in lower:
            lower = lower.replace(american, other)
    return lower


def shuffle_words(text: str, chance: random.Random) -> str:
    """Return the text with its words in another order."""
    words = text.split()
    if not 2 <= len(words) <= 6:
        return text
    chance.shuffle(words)
    return " ".join(words)


def truncate_word(text: str, chance: random.Random) -> str:
    """Return the text with its longest word cut short (pneumonia: pneum)."""
    words = text.split()
    longest = max(range(len(words)), key=lambda i: len(words[i]), default=0)
    if not words or len(words[longest]) < 8:
        return text
    words[longest] = words[longest][: chance.randrange(5, len(words[longest]))]
    return " ".join(words)


def add_filler(text: str, chance: random.Random) -> str:
    """Return the text among words that carry no meaning for coding."""
    return chance.choice(_FILLERS).format(text).strip()
