"""How the same clinical words are written differently: shorthand and spelling."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import snowballstemmer

# Shorthand of chart notes, to the words it stands for. Only forms with one reading:
# anything ambiguous (MS, PE, RA) belongs to the vocabulary, where it has a code.
SHORTHAND = {
    "w/": "with",
    "w/o": "without",
    "wo": "without",
    "d/t": "due to",
    "2/2": "secondary to",
    "s/p": "status post",
    "h/o": "history of",
    "hx": "history",
    "fhx": "family history",
    "pmh": "past medical history",
    "fx": "fracture",
    "fxs": "fractures",
    "dz": "disease",
    "dx": "diagnosis",
    "tx": "treatment",
    "sx": "symptoms",
    "lt": "left",
    "rt": "right",
    "b/l": "bilateral",
    "bilat": "bilateral",
    "unsp": "unspecified",
    "uns": "unspecified",
    "nec": "not elsewhere classified",
    "nos": "not otherwise specified",
    "acq": "acquired",
    "cong": "congenital",
    "synd": "syndrome",
    "dis": "disease",
    "malig": "malignant",
    "neopl": "neoplasm",
    "ca": "cancer",
    "mets": "metastasis",
    "inj": "injury",
    "lac": "laceration",
    "abd": "abdominal",
    "ue": "upper extremity",
    "le": "lower extremity",
    "rue": "right upper extremity",
    "lue": "left upper extremity",
    "rle": "right lower extremity",
    "lle": "left lower extremity",
    "preg": "pregnancy",
    "etoh": "alcohol",
    "htn": "hypertension",
    "dm": "diabetes mellitus",
    "t2dm": "type 2 diabetes mellitus",
    "t1dm": "type 1 diabetes mellitus",
    "dm2": "type 2 diabetes mellitus",
    "dm1": "type 1 diabetes mellitus",
    "chr": "chronic",
    "ac": "acute",
    "prob": "problem",
    "sev": "severe",
    "mod": "moderate",
    "subseq": "subsequent",
    "encntr": "encounter",
    "init": "initial",
    "yo": "year old",
    "y/o": "year old",
    "pt": "patient",
    "pts": "patients",
}

# British spellings to American ones, as pieces of words. The right-hand sides are the
# spellings of the US code sets.
_BRITISH = (
    (r"haem", "hem"),
    (r"(?<=[a-z])aemi", "emi"),
    (r"anaem", "anem"),
    (r"oedem", "edem"),
    (r"oesoph", "esoph"),
    (r"oestr", "estr"),
    (r"diarrhoe", "diarrhe"),
    (r"(?<=[a-z])rrhoe", "rrhe"),
    (r"foet", "fet"),
    (r"faec", "fec"),
    (r"paed", "ped"),
    (r"gynaec", "gynec"),
    (r"caec", "cec"),
    (r"coeliac", "celiac"),
    (r"dyspnoe", "dyspne"),
    (r"(?<=[a-z])pnoe", "pne"),
    (r"leuka", "leuke"),
    (r"tumour", "tumor"),
    (r"colour", "color"),
    (r"behaviour", "behavior"),
    (r"labour", "labor"),
    (r"fibre\b", "fiber"),
    (r"centre\b", "center"),
    (r"litre\b", "liter"),
    (r"ischaem", "ischem"),
    (r"anaesth", "anesth"),
    (r"orthopaed", "orthoped"),
    (r"manoeuvre", "maneuver"),
    (r"sulph", "sulf"),
    (r"homoe", "homeo"),
    (r"(?<=[a-z]{3})isation", "ization"),
    (r"(?<=[a-z]{4})ised\b", "ized"),
    (r"(?<=[a-z]{4})lyse(d?)\b", r"lyze\1"),
    (r"mould\b", "mold"),
    (r"grey\b", "gray"),
    (r"(?<=[a-z])oea\b", "ea"),
)
_BRITISH_PATTERNS = tuple((re.compile(pattern), new) for pattern, new in _BRITISH)
_ANY_BRITISH = re.compile("|".join(pattern for pattern, _ in _BRITISH))


def american(text: str) -> str:
    """Return lower-case text with British spellings replaced by American ones."""
    if _ANY_BRITISH.search(text) is None:
        return text
    for pattern, new in _BRITISH_PATTERNS:
        text = pattern.sub(new, text)
    return text


# Words that tell no condition from another.
STOPWORDS = frozenset(
    """
    a an and are as at be been being but by can do does due for from had has have he her his
    i in into is it its me my not of on or our patient pt secondary she so status that the
    their them there these this to was we were when which while who with without you your
    other otherwise specified unspecified classified elsewhere nec nos feel feels feeling got
    get gets having really very some what code icd
    """.split()  # noqa: SIM905
)
_TOKEN = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_SLASHED = re.compile(r"(?<![a-z0-9])(?:[a-z]/[a-z]|w/|2/2)(?![a-z0-9])")
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u2032", "'"))
_stemmer = snowballstemmer.stemmer("english")


def plain(text: str) -> str:
    """Return the text in lower case, without accents, in American spelling."""
    return american(_folded(text))


def _folded(text: str) -> str:
    """Return the text in lower case, without accents, all ASCII."""
    folded = text.casefold()
    if folded.isascii():
        return folded
    spelled = unicodedata.normalize("NFKD", folded.translate(_APOSTROPHES)).casefold()
    return "".join(map(_ascii, spelled))


def _ascii(letter: str) -> str:
    """Return an ASCII character; a blank for a sign (a dash), nothing for an accent."""
    if letter.isascii():
        return letter
    return "" if letter.isalnum() or unicodedata.category(letter) in ("Mn", "Cf") else " "


def tokens(text: str) -> list[str]:
    """Return the words of a text, plain, with unambiguous shorthand spelled out."""
    spelled = _SLASHED.sub(lambda match: SHORTHAND.get(match[0], match[0]) + " ", _folded(text))
    found: list[str] = []
    for token in _TOKEN.findall(spelled):
        found += _words(token)
    return found


@lru_cache(maxsize=100_000)
def _words(token: str) -> tuple[str, ...]:
    """Return the plain words that a token stands for, shorthand spelled out."""
    word = american(token).removesuffix("'s").replace("'", "")
    return tuple(SHORTHAND.get(word, word).split())


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """Return the stem of a plain word (Porter 2, English): fractures, fracture: fractur."""
    return word if word.isdigit() else str(_stemmer.stemWord(word))


def terms(words: list[str]) -> list[str]:
    """Return the stems of the telling words; of all words if none is telling."""
    telling = [stem(word) for word in words if word not in STOPWORDS]
    return telling or [stem(word) for word in words]


LONGEST_PHRASE = 8


def phrase_key(stems: Iterable[str]) -> str:
    """Return stems as the key of a phrase: each once, in alphabetical order."""
    return " ".join(sorted(set(stems)))
