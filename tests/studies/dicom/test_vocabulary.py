from __future__ import annotations

from itertools import chain

import pytest

from scripts.studies.dicom import vocabulary
from scripts.studies.dicom.vocabulary import read_description

PHASES = {
    "pre": (
        "t1_vibe_fs_tra_bh_pre", "T1 VIBE nativ", "Ax LAVA PRE", "eTHRIVE ohne KM", "T1 FS sans injection",
        "T1 SIN CONTRASTE", "T1 basale", "THRIVE pre mdc", "sem contraste", "T1 zonder contrast", "blanco", "平扫",
        "造影前", "조영 전", "C-pre", "unenhanced", "prekontrast", "LAVA-C", "C-", "W/O CONTRAST", "T1 wo contrast",
        "T1 o. KM", "oKM", "VIBE o.KM", "LAVA w/o Gd",
    ),
    "early_arterial": (
        "early arterial", "LAVA ART EARLY", "früharteriell", "frueharterielle Phase",
        "artériel précoce",
        "arterial precoz", "arterial temprana", "arteriosa precoce", "vroeg arterieel", "动脉早期", "早期動脈相",
    ),
    "arterial": (
        "LAVA ART", "t1_vibe_art2", "arterielle Phase", "temps artériel", "fase arterial", "fase arteriosa",
        "arteriële fase", "late arterial", "Late Art", "spätarteriell", "artériel tardif", "arterial tardía",
        "laat arterieel", "动脉期", "動脈相", "동맥기", "动脉晚期", "C+A", "HAP", "QUICK 3D arterial",
    ),
    "portal_venous": (
        "portal venous", "PV", "Ax LAVA PVP", "portalvenös", "pv-Phase", "venöse Phase", "temps portal",
        "veineux", "fase portal", "venosa", "fase portale", "portaal", "veneuze fase", "门脉期", "门静脉期", "静脉期",
        "門脈相", "문맥기", "정맥기", "C+V",
    ),
    "delayed": (
        "delayed", "eTHRIVE delay", "Spätphase", "spätvenös", "late venous", "late", "equilibrium", "Gleichgewicht",
        "temps tardif", "fase tardía", "fase tardiva", "équilibre", "late fase", "延迟期", "平衡相", "遅延相", "지연기",
        "C+Delay", "transitional", "LAVA DEL",
    ),
    "hepatobiliary": (
        "HBP 20min", "hepatobiliary", "leberspezifische Phase", "phase hépatobiliaire", "epatobiliare", "肝胆期",
        "肝細胞相", "간담도기", "20 min delayed hepatobiliary",
    ),
}  # fmt: skip

MISSPELT = {
    "arterial": ("aterial", "artrial phase", "arteiral", "THRIVE arteral"),
    "portal_venous": ("protal", "portalvenuos", "poratl venos", "portal venus", "portle"),
    "delayed": ("delyed", "dealyed", "delayd", "equilbrium"),
    "pre": ("prekontast", "unenhnaced"),
    "hepatobiliary": ("hepatobilliary",),
}

NO_PHASE = (
    "artefact", "motion artifact", "artery", "t1_vibe_artefakt", "partial fourier", "preparation", "prescan", "lateral",
    "plate", "portable", "negative", "postal", "venc 50", "dyn", "t1_vibe_fs_tra_bh_dyn", "", "delta",
    "MRA arteriography", "spatial", "pre/art/pv/del", "pre + post", "arterial and portal", "LAVA 35s delay", "present",
    "LAVA-C+", "eTHRIVE-C+", "Dyn -C +", "estudio del higado", "T1 del fegato", "W/WO CONTRAST", "LAVA 35s del",
    "T1 with and without contrast", "w/o FS",
)  # fmt: skip


@pytest.mark.parametrize("text", NO_PHASE)
def test_what_only_looks_like_a_phase_is_none(text: str) -> None:
    assert read_description(text).phase == ""


@pytest.mark.parametrize(("phase", "text"), [(phase, text) for phase, texts in PHASES.items() for text in texts])
def test_phases_in_the_words_of_vendors_and_languages(phase: str, text: str) -> None:
    words = read_description(text)
    assert words.phase == phase
    assert words.term


@pytest.mark.parametrize(("phase", "text"), [(phase, text) for phase, texts in MISSPELT.items() for text in texts])
def test_misspelt_phases(phase: str, text: str) -> None:
    assert read_description(text).phase == phase


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("3-plane LOC", "localiser"),
        ("Lokalisator", "localiser"),
        ("repérage", "localiser"),
        ("定位像", "localiser"),
        ("DWI b800", "diffusion"),
        ("ep2d_diff_b50_400", "diffusion"),
        ("t1 b400", "diffusion"),
        ("ADC", "diffusion"),
        ("t2_haste_cor", "T2-weighted"),
        ("T2WI", "T2-weighted"),
        ("SUB art-pre", "subtraction"),
        ("soustraction", "subtraction"),
        ("Substraction arterial", "subtraction"),
        ("减影", "subtraction"),
        ("サブトラクション", "subtraction"),
        ("MIP art", "projection (MIP)"),
        ("cor MPR pv", "reformat (MPR)"),
        ("t1_map_molli", "map"),
        ("care bolus", "bolus tracking"),
        ("SmartPrep", "bolus tracking"),
    ],
)
def test_what_is_no_phase_is_named(text: str, kind: str) -> None:
    assert read_description(text).kind == kind


@pytest.mark.parametrize(
    "text", ["t1_vibe_fs_tra", "Ax LAVA-Flex", "eTHRIVE", "mDIXON", "TIGRE", "QUICK 3D", "DISCO", "TWIST"]
)
def test_sequences_of_the_vendors(text: str) -> None:
    words = read_description(text)
    assert words.sequence
    assert words.kind == ""


@pytest.mark.parametrize(
    ("text", "component"),
    [
        ("t1_vibe_dixon_tra_bh_pre_W", "water"),
        ("t1_vibe_dixon_F", "fat"),
        ("t1_vibe_dixon_in", "in_phase"),
        ("t1_vibe_dixon_opp", "opposed_phase"),
        ("WATER: Ax LAVA-Flex", "water"),
        ("FAT: Ax LAVA-Flex", "fat"),
        ("InPhase: Ax LAVA-Flex", "in_phase"),
        ("OutPhase: Ax LAVA-Flex", "opposed_phase"),
        ("t1 fat sat art", ""),
        ("T1W art", ""),
        ("T1 同位相", "in_phase"),
        ("反相位", "opposed_phase"),
        ("T1 VIBE FS en fase arterial", ""),
        ("T1 FS en phase portale", ""),
        ("T1 VIBE FS in fase arteriosa", ""),
        ("T1 en phase d'équilibre", ""),
        ("T1 en fase arteral", ""),
        ("T1 EN FASE", "in_phase"),
        ("T1 en phase", "in_phase"),
        ("T1 in fase 2", "in_phase"),
        ("arterial in phase", "in_phase"),
    ],
)
def test_components_of_dixon_sets(text: str, component: str) -> None:
    assert read_description(text).component == component


@pytest.mark.parametrize(
    ("text", "time_s"),
    [
        ("LAVA 35s", 35.0),
        ("vibe_70 sec", 70.0),
        ("dyn 3min", 180.0),
        ("HBP 20 Min", 1200.0),
        ("5分", 300.0),
        ("35s 70s 3min", None),
        ("2s", None),
        ("3 series", None),
        ("1.5 min", None),
    ],
)
def test_times(text: str, time_s: float | None) -> None:
    assert read_description(text).time_s == time_s


def test_contrast_agent_without_a_phase() -> None:
    assert read_description("Ax LAVA +C").contrast == "+C"
    assert read_description("t1 fs post Gd").contrast
    assert read_description("Ax LAVA-C+").contrast == "+C"
    assert read_description("t1 ohne KM").contrast == ""
    assert read_description("T1 W/O CONTRAST").contrast == ""
    assert read_description("T1 W/WO CONTRAST").contrast == ""
    assert read_description("posterior coil").contrast == ""


def test_only_terms_leave_the_module() -> None:
    terms = {"", "+C", "C+A", "C+V", "C+D", "C-", "b value"}
    for group in (vocabulary.PHASE_TERMS, vocabulary.KIND_TERMS):
        terms |= {term.rstrip("*") for term in chain.from_iterable(group.values())}
    for group in (vocabulary.CONTRAST_TERMS, vocabulary.SEQUENCE_TERMS, vocabulary.FAT_SUPPRESSION_TERMS):
        terms |= {term.rstrip("*") for term in group}
    terms |= set(vocabulary.ANATOMY_TERMS)
    for text in (
        "Arterienne Delayna t1_vibe_aterial",
        "PLANTED Mueller, Gadowski VIBE portalvenus 70s",
        "Subtrzak MRA",
    ):
        words = read_description(text)
        said = {words.term, words.contrast, words.sequence, words.fat_suppression, words.kind_term, words.anatomy}
        assert said <= terms


@pytest.mark.parametrize("phase", vocabulary.PHASE_TERMS)
def test_every_term_is_found_alone(phase: str) -> None:
    """A term that a longer one or a false friend shadows would be dead."""
    means = {"venous": "portal_venous", "late": "delayed"}.get(phase, phase)
    for term in vocabulary.PHASE_TERMS[phase]:
        assert read_description(term.rstrip("*").replace("* ", " ")).phase == means, term
