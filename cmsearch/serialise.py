"""From a concept to its text forms: the one place where codes become text.

Pretraining, tuning and indexing all call ``forms``; a template has a name, and the set
of templates has a version that stands in the manifest of every index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from cmsearch.codes import Code
from cmsearch.ontology.concept import Concept, Level

TEMPLATES_VERSION = "1"


class Template(Enum):
    """The named ways to write a concept as text."""

    TITLE = "title"
    PUBLISHED = "published"
    ANCESTORS = "ancestors"
    INCLUSION = "inclusion"
    INCLUDES = "includes"
    INDEX = "index"
    VOCABULARY = "vocabulary"


DEFAULT_TEMPLATES = (
    Template.TITLE,
    Template.INCLUSION,
    Template.INCLUDES,
    Template.INDEX,
    Template.VOCABULARY,
)


@dataclass(frozen=True, slots=True)
class Form:
    """One text form of a concept, and the template that made it."""

    code: Code
    text: str
    template: Template


def forms(
    concept: Concept,
    *,
    templates: Sequence[Template] = DEFAULT_TEMPLATES,
    ancestors: Sequence[Concept] = (),
    index_terms: Iterable[str] = (),
    vocabulary: Iterable[str] = (),
) -> list[Form]:
    """Return the text forms of a concept, without repetitions, the title first.

    Args:
        concept: the concept to write.
        templates: which templates to use.
        ancestors: its ancestors, nearest first; used by ``ancestors``.
        index_terms: index paths (``Anemia > iron deficiency``); used by ``index``.
        vocabulary: everyday words and shorthand; used by ``vocabulary``.
    """
    made: list[tuple[str, Template]] = []
    for template in templates:
        if template is Template.TITLE:
            texts: Iterable[str] = [concept.title]
        elif template is Template.PUBLISHED:
            texts = [published(concept.code, concept.title)]
        elif template is Template.ANCESTORS:
            texts = [with_ancestors(concept, ancestors)]
        elif template is Template.INCLUSION:
            texts = concept.inclusion_terms
        elif template is Template.INCLUDES:
            texts = _conditions(concept)
        elif template is Template.INDEX:
            texts = (text for path in index_terms for text in index_forms(path))
        else:
            texts = vocabulary
        made += [(text, template) for text in texts]
    seen: set[str] = set()
    result = []
    for text, template in made:
        key = text.casefold()
        if text and key not in seen:
            seen.add(key)
            result.append(Form(concept.code, text, template))
    return result


def published(code: Code, title: str) -> str:
    """Return the published form: ``ICD 10 code for J18.9: Pneumonia, ...``.

    Source: Clinical ModernBERT, arXiv 2504.03964, section 3.1.
    """
    return f"ICD {code.system.version} code for {code.value}: {title}"


def with_ancestors(concept: Concept, ancestors: Sequence[Concept]) -> str:
    """Return the title followed by the titles above it, nearest first."""
    return "; ".join([concept.title, *(ancestor.title for ancestor in ancestors)])


def _conditions(concept: Concept) -> list[str]:
    """Return the includes notes that name a condition rather than refer to codes.

    Only those of codes: "Includes: diseases generally recognised as communicable" of a
    chapter names nothing that anybody would look up.
    """
    if concept.level is not Level.CODE:
        return []
    return [
        note
        for note in concept.notes.includes
        if not re.search(r"[A-Z]\d\d|\b(conditions?|codes?|injur(y|ies) of)\b", note)
    ]


# Words that begin a modifier which follows the noun: "anemia DUE TO blood loss".
_FOLLOWING = re.compile(
    r"(?i)(due|with|without|in|of|by|from|to|for|on|at|after|following|during|as|and|or|"
    r"complicating|affecting|involving|resulting|causing|caused|associated|because|"
    r"not|nec|nos|specified|unspecified|type|stage|grade|secondary|status|while|when|"
    r"between|into|under|over|through|that|which|see|than|via|per|type)\b"
)


def natural_order(path: str) -> str:
    """Return an index path in the order in which people say it.

    ``Anemia > iron deficiency > due to blood loss`` becomes
    ``iron deficiency anemia due to blood loss``: modifiers stand before the main term,
    the last one first, up to the first that begins with a preposition; that one and all
    below it follow the main term. Inflected variants (``Croup, croupous``) are left out,
    other words after a comma (``Fracture, traumatic``) count as modifiers. The capital
    that the index gives each main term goes where the term no longer comes first, but for
    names and abbreviations (``Parkinson's``, ``HIV``).
    """
    head, *modifiers = [part.strip() for part in path.split(" > ")]
    noun, *rest = [part.strip() for part in head.split(",")]
    stem = noun[:3].casefold()
    modifiers = [part for part in rest if part[:3].casefold() != stem] + modifiers
    turn = next((i for i, part in enumerate(modifiers) if _FOLLOWING.match(part)), len(modifiers))
    if turn and re.match(r"[A-Z][a-z]+(?!['\u2019\w])", noun):
        noun = noun[0].lower() + noun[1:]
    words = [*reversed(modifiers[:turn]), noun, *modifiers[turn:]]
    return re.sub(r"\s+", " ", " ".join(words)).strip()


def index_forms(path: str) -> list[str]:
    """Return an index path as printed (without the signs) and in natural order."""
    printed = re.sub(r"\s+", " ", path.replace(" > ", " ")).strip()
    natural = natural_order(path)
    return [printed] if natural.casefold() == printed.casefold() else [natural, printed]
