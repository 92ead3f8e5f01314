"""The words of series descriptions: contrast phases, sequences and everything that is no phase, in ten languages.

A description is matched against fixed terms, and only the term leaves this module: an operator may have typed a name
beside it. Words of six letters and more are also recognised misspelt.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache

from .terms import (
    ANATOMY_TERMS,
    COMPONENT_ENDINGS,
    COMPONENT_TERMS,
    CONTRAST_TERMS,
    FALSE_FRIENDS,
    FAT_SUPPRESSION_TERMS,
    KIND_TERMS,
    PHASE_TERMS,
    SEQUENCE_TERMS,
)

FUZZY_LETTERS = 6
"""Shorter words are too near to others: ``late`` to ``plate``, ``pre`` to ``pro``."""

FUZZY_RATIO = 0.82
"""Two letters swapped in ``portal`` give 0.83; ``post contrast`` against ``precontrast`` 0.78."""

_PLUS_C = re.compile(r"(?<![a-z])c\s?[+]|[+]\s?c(?![a-z])")
_PLUS_C_PHASES = {
    "arterial": re.compile(r"(?<![a-z])c\s?[+]\s?a(?![a-z])"),
    "portal_venous": re.compile(r"(?<![a-z])c\s?[+]\s?(?:v|p|pv)(?![a-z])"),
    "delayed": re.compile(r"(?<![a-z])c\s?[+]\s?(?:d|delay)(?![a-z])"),
    "pre": re.compile(r"(?<![a-z])c\s?[-](?![a-z])|[-]\s?c(?![a-z])(?!\s?[+])"),
}
_WITHOUT_CONTRAST = re.compile(
    r"(?<![a-z])(?:w\s?/\s?o|wo|without)\.?\s*(?:iv\s+)?(?:contrast|gad[a-z]*|gd)(?![a-z])"
    r"|(?<![a-z])o\.?\s?km(?![a-z])"
)
_WITH_AND_WITHOUT = re.compile(
    r"(?<![a-z])w(?:ith|/)?\s*(?:and|&|[+]|/)\s*(?:w\s?/?\s?o|without)(?![a-z])(?:\s+(?:iv\s+)?contrast(?![a-z]))?"
)
"""Of a protocol, not of one series."""

_IN_THE_PHASE = (("en", "phase"), ("in", "fase"), ("en", "fase"))
"""French, Italian and Spanish; before the name of a contrast phase they only introduce it."""

_ARTICLES = frozenset(("d", "de", "del", "della", "di", "do", "da", "l", "la"))
_TOKEN = re.compile(r"t[12]w?(?!\d)|[a-z]\d+(?![a-z\d])|\d+[a-z]+|[a-z]+|\d+|[^\x00-\x7f\s]+")
_B_VALUE = re.compile(r"b[05]|b\d{2,4}")
_TIME = re.compile(
    r"(?<![\da-z.,])(\d{1,3})\s*(?:(s|sec|secs|sek|seg|sekunden|seconds|秒|초)|"
    r"(m|min|mins|mn|minute|minutes|minuten|minutos|minuti|分|分钟|분))(?![a-z])"
)
_SHORTEST_S, _LONGEST_S = 10, 1800
_IN_WORDS = {"early_arterial": "early arterial", "portal_venous": "portal-venous"}


def in_words(phase: str) -> str:
    """A contrast phase as its readers write it, ``portal-venous`` for ``portal_venous``."""
    return _IN_WORDS.get(phase, phase)


@dataclass(frozen=True)
class Words:
    """What a description says. Every text is a term of this module, never what was typed.

    Args:
        phase: one of ``PHASES``, ``early_arterial`` or ``hepatobiliary``; empty where none or several are named.
        term: that names the phase.
        contrast: term that tells of a contrast agent.
        sequence: term for a T1-weighted gradient echo.
        fat_suppression: term for it.
        component: of a Dixon or dual-echo set: ``water``, ``fat``, ``in_phase`` or ``opposed_phase``.
        kind: what makes it no contrast phase, such as ``localiser``.
        kind_term: that names the kind.
        anatomy: term for another part of the body.
        time_s: a time, which may be that since the injection.
    """

    phase: str = ""
    term: str = ""
    contrast: str = ""
    sequence: str = ""
    fat_suppression: str = ""
    component: str = ""
    kind: str = ""
    kind_term: str = ""
    anatomy: str = ""
    time_s: float | None = None


def read_description(text: str) -> Words:
    """Find the terms in a description.

    Args:
        text: a SeriesDescription, in any language, spelling and case.
    """
    folded = _fold(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)).replace("_", " ")
    folded = _WITHOUT_CONTRAST.sub(" without contrast ", _WITH_AND_WITHOUT.sub(" ", folded))
    time_s = _time_s(folded)
    tokens = [token for token in _TOKEN.findall(folded) if token not in FALSE_FRIENDS]
    if tokens[-1:] == ["del"]:  # elsewhere it is "of the"
        tokens[-1] = "delay"
    phases = _find(tokens, _terms_of("phase"))
    for phase, pattern in _PLUS_C_PHASES.items():
        if pattern.search(folded):
            phases.setdefault(phase, {"arterial": "C+A", "portal_venous": "C+V", "delayed": "C+D", "pre": "C-"}[phase])
    if phases.get("delayed") == "delay" and time_s is not None and time_s < 110:
        phases.pop("delayed")  # "35 s delay" is a waiting time
    contrast = _first(_find(tokens, _terms_of("contrast"))) or ("+C" if _PLUS_C.search(folded) else "")
    phase = _one_phase(phases, contrast)
    kinds = _find(tokens, _terms_of("kind"))
    b_value = any(_B_VALUE.fullmatch(token) for token in tokens)
    kind, kind_term = next(iter(kinds.items()), ("diffusion", "b value") if b_value else ("", ""))
    # "Fat" in "fat sat" is no fat image.
    fat_suppression = _find(tokens, _terms_of("fat suppression"))
    return Words(
        phase="portal_venous" if phase == "venous" else "delayed" if phase == "late" else phase,
        term=phases.get(phase, ""),
        contrast="" if phase == "pre" else contrast,
        sequence=_first(_find(tokens, _terms_of("sequence"))),
        fat_suppression=_first(fat_suppression),
        component=_component(tokens, fat_suppressed=bool(fat_suppression)),
        kind=kind,
        kind_term=kind_term,
        anatomy=_first(_find(tokens, _terms_of("anatomy"))),
        time_s=time_s,
    )


def _one_phase(phases: dict[str, str], contrast: str) -> str:
    """The phase that is meant; empty where several are."""
    found = set(phases)
    if {"early_arterial", "arterial", "portal_venous", "hepatobiliary", "delayed"} & found:
        found.discard("late")  # "late arterial", "late portal venous"
    if {"portal_venous", "delayed"} & found:
        found.discard("venous")
    if found == {"venous", "late"}:
        return "late"
    if "early_arterial" in found:
        found.discard("arterial")
    if "hepatobiliary" in found:
        found.discard("delayed")
    if "pre" in found and contrast == "post":
        return ""
    return found.pop() if len(found) == 1 else ""


def _component(tokens: list[str], *, fat_suppressed: bool) -> str:
    found = _find(_without_in_the_phase(tokens), _terms_of("component"))
    if fat_suppressed:
        found.pop("fat", None)
    if not found and len(tokens) > 1 and tokens[-1] in COMPONENT_ENDINGS:
        return COMPONENT_ENDINGS[tokens[-1]]
    return next((name for name in ("opposed_phase", "in_phase", "fat", "water") if name in found), "")


def _without_in_the_phase(tokens: list[str]) -> list[str]:
    """Without the "in the phase" of "in the arterial phase", which is how three languages say in-phase too."""
    kept = list(tokens)
    for start in reversed(range(len(tokens) - 2)):
        after = next((token for token in tokens[start + 2 :] if token not in _ARTICLES), "")
        if tuple(tokens[start : start + 2]) in _IN_THE_PHASE and _find([after], _terms_of("phase")):
            del kept[start : start + 2]
    return kept


def _find(tokens: list[str], terms: tuple[tuple[str, tuple[str, ...], str], ...]) -> dict[str, str]:
    """Meaning to term, longer terms first; a word counts once."""
    found: dict[str, str] = {}
    free = list(tokens)
    for meaning, words, term in terms:
        for start in _places(free, words):
            found.setdefault(meaning, term)
            ideographic = not words[0].isascii()
            for place in range(start, start + len(words)):
                free[place] = free[place].replace(words[0], " ") if ideographic else ""
    for token in free:
        meaning, term = _misspelt(token, terms)
        if meaning:
            found.setdefault(meaning, term)
    return found


def _places(tokens: list[str], words: tuple[str, ...]) -> list[int]:
    starts = range(len(tokens) - len(words) + 1)
    return [start for start in starts if all(map(_is_word, tokens[start : start + len(words)], words))]


def _is_word(token: str, word: str) -> bool:
    if not word.isascii():
        return word in token  # Chinese, Japanese and Korean do not part words
    return token.startswith(word[:-1]) if word.endswith("*") else token == word


def _misspelt(token: str, terms: tuple[tuple[str, tuple[str, ...], str], ...]) -> tuple[str, str]:
    if len(token) < FUZZY_LETTERS - 1 or not token.isalpha() or not token.isascii() or token in _known_words():
        return "", ""
    near = [
        (SequenceMatcher(None, token, words[0]).ratio(), meaning, term)
        for meaning, words, term in terms
        if len(words) == 1 and len(words[0]) >= FUZZY_LETTERS and words[0].isalpha() and words[0][0] == token[0]
    ]
    ratio, meaning, term = max(near, default=(0.0, "", ""))
    return (meaning, term) if ratio >= FUZZY_RATIO else ("", "")


@cache
def _terms_of(topic: str) -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """``(meaning, words, term)``, the most specific first."""
    meanings = {
        "phase": PHASE_TERMS,
        "contrast": {"contrast": CONTRAST_TERMS},
        "sequence": {"sequence": SEQUENCE_TERMS},
        "fat suppression": {"fat suppression": FAT_SUPPRESSION_TERMS},
        "component": COMPONENT_TERMS,
        "kind": KIND_TERMS,
        "anatomy": {"anatomy": ANATOMY_TERMS},
    }[topic]
    terms = [(meaning, _words_of(term), term.rstrip("*")) for meaning, terms in meanings.items() for term in terms]
    return tuple(sorted(terms, key=lambda item: (-len(item[1]), item[1][0].endswith("*"), -len(item[1][0]))))


@cache
def _known_words() -> frozenset[str]:
    topics = ("phase", "contrast", "sequence", "fat suppression", "component", "kind", "anatomy")
    return frozenset(word for topic in topics for _, words, _ in _terms_of(topic) for word in words)


def _words_of(term: str) -> tuple[str, ...]:
    return tuple(_fold(term).split())


def _first(found: dict[str, str]) -> str:
    return next(iter(found.values()), "")


def _fold(text: str) -> str:
    """Lower case without accents, so that ``Spät`` is ``spat``."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _time_s(folded: str) -> float | None:
    """The one time in the text; None where there is none, or several."""
    times_s = {float(number) * (1 if seconds else 60) for number, seconds, _ in _TIME.findall(folded)}
    times_s = {time_s for time_s in times_s if _SHORTEST_S <= time_s <= _LONGEST_S}
    return times_s.pop() if len(times_s) == 1 else None
