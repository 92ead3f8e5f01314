"""The words of series descriptions: contrast phases, sequences and everything that is no phase, in ten languages.

A description is matched against fixed terms, and only the term leaves this module: an operator may have typed a name
beside it. A term ending in ``*`` is the beginning of a word. Words of six letters and more are also recognised
misspelt.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache

FUZZY_LETTERS = 6
"""Shorter words are too near to others: ``late`` to ``plate``, ``pre`` to ``pro``."""

FUZZY_RATIO = 0.82
"""Two letters swapped in ``portal`` give 0.83; ``post contrast`` against ``precontrast`` 0.78."""

# English, German, French, Spanish, Italian, Portuguese, Dutch; Chinese, Japanese, Korean at the end of each entry.
PHASE_TERMS: dict[str, tuple[str, ...]] = {
    "pre": (
        "pre", "precontrast", "pre contrast", "prekontrast", "pre kontrast", "unenhanced", "non contrast",
        "noncontrast", "non enhanced", "without contrast", "no contrast", "before contrast", "plain", "baseline",
        "mask", "native", "nativ", "ohne km", "ohne kontrast*", "vor km", "vor kontrast*", "prae", "praekontrast",
        "sans injection", "sans inj", "sans contraste", "sans gado*", "avant injection", "avant inj",
        "avant contraste", "avant gado*", "sin contraste", "sin civ", "sin gado*", "basal", "senza mdc",
        "senza contrasto", "pre mdc", "basale", "diretto", "sem contraste", "sem gado*", "pre contraste",
        "precontraste", "zonder contrast", "voor contrast", "blanco", "nativa", "nativo",
        "平扫", "平掃", "增强前", "增強前", "造影前", "単純", "조영전", "조영 전",
    ),
    "early_arterial": (
        "early arterial", "early art", "arterial early", "art early", "fruharteriell*", "fruehart*", "fruhart*",
        "fruh arteri*", "frueh arteri*", "arteri* precoce", "arteri* temprana", "arteri* precoz", "vroeg arteri*",
        "动脉早期", "早期动脉", "動脈早期", "早期動脈", "조기동맥", "동맥 조기", "조기 동맥",
    ),
    "arterial": (
        "arterial", "arteriell", "arterielle", "arteriel", "arteriosa", "arterioso", "arteriale", "arterieel",
        "arteriele", "arteri*", "art", "artphase", "hap", "ap phase", "late arterial", "late art", "arterial late",
        "spatarteri*", "spaetarteri*", "spatart", "spaetart", "spat arteri*", "spaet arteri*", "arteri* tardi*",
        "laat arteri*", "动脉", "動脈", "동맥", "动脉晚期", "晚期动脉", "動脈後期", "後期動脈", "후기동맥", "후기 동맥",
    ),
    "portal_venous": (
        "portal venous", "portal", "portovenous", "portalvenous", "portalvenos*", "portalvenoes*", "portovenos*",
        "portalphase", "portoven*", "porto ven*", "portal ven*", "portal veineux", "portale", "portaal", "porta",
        "porte", "portaveneus*", "pv", "pvp", "pvph", "ppv", "venos* portal*",
        "门脉", "门静脉", "門脈", "門静脈", "門靜脈", "문맥", "간문맥", "문정맥",
    ),
    "venous": (
        "venous", "ven", "venos*", "venoes*", "veineux", "veineuse", "veneus", "veneuze",
        "静脉", "静脈", "靜脈", "정맥",
    ),
    "delayed": (
        "delayed", "delay", "delay*", "dly", "del", "equilibrium", "equilibre", "equilibrio", "equil", "equilib*",
        "interstitial", "interstiti*", "transitional", "late venous", "late phase", "late dynamic", "spatphase",
        "spaetphase", "spatvenos*", "spaetvenoes*", "spat venos*", "spaet venoes*", "gleichgewicht*", "verzogert*",
        "verzoegert*", "aequilibrium", "aquilibrium", "retarde", "retardee", "retardada", "retardado", "ritardata",
        "evenwicht*", "vertraagd*", "延迟", "延遲", "遅延", "平衡", "지연", "평형",
    ),
    "late": (
        "late", "spat", "spaet", "spate", "spaete", "tardif", "tardive", "tardia", "tardivo", "tardiva", "tardi*",
        "laat", "晚期", "后期", "後期", "후기",
    ),
    "hepatobiliary": (
        "hepatobiliary", "hepatobil*", "hepato biliary", "hepatobiliar", "hepatobiliare", "hepatobiliaire",
        "epatobiliare", "epatobil*", "hepatospecific", "hepatospez*", "leberspez*", "hepatocyt*", "hepatocit*",
        "hepatozell*", "epatocit*", "hbp", "hb phase", "hbph", "肝胆", "肝膽", "肝細胞", "肝细胞", "간담도", "간세포",
    ),
}  # fmt: skip

CONTRAST_TERMS = (
    "post", "postcontrast", "gd", "gado*", "gad", "km", "mdc", "kontrast*", "contrast*", "injection", "inj",
    "injecte", "dotarem", "primovist", "eovist", "multihance", "magnevist", "omniscan", "prohance", "clariscan",
    "enhanced", "增强", "增強", "造影", "조영",
)  # fmt: skip

SEQUENCE_TERMS = (
    "vibe", "starvibe", "lava", "thrive", "ethrive", "mdixon", "dixon", "tigre", "quick 3d", "quick3d", "quick",
    "disco", "twist", "grasp", "fame", "fspgr", "spgr", "flash", "fl3d", "fl2d", "tfl", "tfe", "ffe", "gre", "t1",
    "t1w", "wfi", "fsp3d",
)  # fmt: skip

FAT_SUPPRESSION_TERMS = (
    "fs", "fatsat", "fat sat", "fat sup*", "fat saturat*", "fatsup*", "spair", "spir", "aspir", "wats", "spectral",
    "fettsat*", "fett sat*", "fettgesattigt*", "fettunterdruck*", "sat graisse", "fat satur*", "satgrasa",
    "thrive", "ethrive", "压脂", "脂肪抑制", "抑脂", "지방억제",
)  # fmt: skip

COMPONENT_TERMS: dict[str, tuple[str, ...]] = {
    "water": ("water", "wasser", "eau", "agua", "acqua", "wateronly", "water only", "水相", "水像"),
    "fat": ("fat", "fett", "graisse", "fatonly", "fat only", "脂相", "脂肪像"),
    "in_phase": ("in phase", "inphase", "en phase", "in fase", "en fase", "iphase", "同相", "同位相", "동위상"),
    "opposed_phase": (
        "opp", "opposed*", "opp phase", "out phase", "outphase", "out of phase", "oop", "gegenphase", "fuori fase",
        "hors phase", "opposition de phase", "fuera de fase", "uit fase", "反相", "逆相", "逆位相", "역위상",
    ),
}  # fmt: skip
_COMPONENT_ENDINGS = {"w": "water", "f": "fat", "in": "in_phase", "ip": "in_phase", "op": "opposed_phase"}
"""What vendors append to the description of a Dixon image, such as ``t1_vibe_dixon_tra_W``."""

KIND_TERMS: dict[str, tuple[str, ...]] = {
    "localiser": (
        "localizer", "localiser", "loc", "locator", "scout", "survey", "topogram", "3plane", "3 plane", "3pl",
        "lokalisat*", "lokalizer", "localisateur", "reperage", "localizador", "localizzatore", "ubersicht*",
        "uebersicht*", "定位", "位置決め", "위치결정",
    ),
    "calibration scan": ("calibration", "cal", "asset cal", "refscan", "ref scan", "senseref", "b1 map", "shim"),
    "diffusion": (
        "dwi", "diff", "diffusion", "adc", "eadc", "ivim", "tracew", "trace", "ep2d", "dwibs", "diffusione",
        "difusion", "difusao", "diffusie", "弥散", "扩散", "拡散", "확산",
    ),
    "T2-weighted": (
        "t2", "t2w", "haste", "ssfse", "sshtse", "ssh", "tse", "fse", "frfse", "blade", "propeller", "trufi",
        "truefisp", "fiesta", "bffe", "btfe", "mrcp", "stir", "flair", "t2star",
    ),
    "subtraction": (
        "sub", "subs", "subtr", "subtraction", "subtracted", "subtract*", "subtraktion", "soustraction",
        "sustraccion", "sottrazione", "subtracao", "subtractie", "减影", "減影", "サブトラクション", "감산",
    ),
    "projection (MIP)": ("mip", "minip", "maxip", "mips", "projection", "projektion"),
    "reformat (MPR)": ("mpr", "mprs", "reformat", "reformat*", "rekonstruktion", "curved"),
    "map": (
        "map", "maps", "t1map*", "t2map*", "molli", "ff", "pdff", "fatfrac*", "fat fraction", "r2", "r2star", "mre",
        "elasto*", "elastogr*", "stiffness", "washin", "washout map", "ktrans", "iauc", "ttp", "pei", "iq",
    ),
    "bolus tracking": (
        "care bolus", "carebolus", "smartprep", "smart prep", "fluoro*", "bolustrak", "bolus trak",
        "bolustrack", "bolus track*", "test bolus", "testbolus", "timing",
    ),
    "angiography": ("mra", "angio*", "cemra", "tof"),
    "screen capture or report": ("screen", "screenshot", "screen save", "report", "secondary capture"),
}  # fmt: skip

ANATOMY_TERMS = (
    "brain", "head", "neck", "spine", "knee", "shoulder", "hip", "pelvis", "prostate", "breast", "heart", "cardiac",
    "chest", "thorax", "foot", "hand", "wrist", "elbow", "ankle", "uterus", "rectum", "kopf", "schadel", "hals",
    "wirbelsaule", "lws", "becken", "knie", "schulter", "herz", "prostata", "mamma", "cerveau", "tete", "rachis",
    "bassin", "genou", "coeur", "sein", "cabeza", "columna", "rodilla", "corazon", "cerebro", "testa", "colonna",
    "bacino", "ginocchio", "cuore", "cabeca", "coluna", "joelho", "coracao", "hoofd", "bekken", "hart",
    "头部", "颅脑", "脊柱", "骨盆", "盆腔", "頭部", "脊椎", "두부", "척추", "골반",
)  # fmt: skip

FALSE_FRIENDS = frozenset((
    "artefact", "artefacts", "artifact", "artifacts", "artery", "arteries", "arteriogram", "arteriography",
    "arteriovenous", "article", "negative", "portable", "postal", "prescan", "preparation", "present", "partial",
))  # fmt: skip
"""Words that begin like a term or look misspelt, and mean something else."""

_PLUS_C = re.compile(r"(?<![a-z])c\s?[+]|[+]\s?c(?![a-z])")
_PLUS_C_PHASES = {
    "arterial": re.compile(r"(?<![a-z])c\s?[+]\s?a(?![a-z])"),
    "portal_venous": re.compile(r"(?<![a-z])c\s?[+]\s?(?:v|p|pv)(?![a-z])"),
    "delayed": re.compile(r"(?<![a-z])c\s?[+]\s?(?:d|delay)(?![a-z])"),
    "pre": re.compile(r"(?<![a-z])c\s?[-](?![a-z])|[-]\s?c(?![a-z])"),
}
_TOKEN = re.compile(r"t[12]w?(?!\d)|[a-z]\d+(?![a-z\d])|\d+[a-z]+|[a-z]+|\d+|[^\x00-\x7f\s]+")
_B_VALUE = re.compile(r"b[05]|b\d{2,4}")
_TIME = re.compile(
    r"(?<![\da-z.,])(\d{1,3})\s*(?:(s|sec|secs|sek|seg|sekunden|seconds|秒|초)|"
    r"(m|min|mins|mn|minute|minutes|minuten|minutos|minuti|分|分钟|분))(?![a-z])"
)
_SHORTEST_S, _LONGEST_S = 10, 1800


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
    time_s = _time_s(folded)
    tokens = [token for token in _TOKEN.findall(folded) if token not in FALSE_FRIENDS]
    phases = _find(tokens, _terms_of("phase"))
    for phase, pattern in _PLUS_C_PHASES.items():
        if pattern.search(folded):
            phases.setdefault(phase, {"arterial": "C+A", "portal_venous": "C+V", "delayed": "C+D", "pre": "C-"}[phase])
    if phases.get("delayed") in ("delay", "del") and time_s is not None and time_s < 110:
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
    found = _find(tokens, _terms_of("component"))
    if fat_suppressed:
        found.pop("fat", None)
    if not found and len(tokens) > 1 and tokens[-1] in _COMPONENT_ENDINGS:
        return _COMPONENT_ENDINGS[tokens[-1]]
    return next((name for name in ("opposed_phase", "in_phase", "fat", "water") if name in found), "")


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
