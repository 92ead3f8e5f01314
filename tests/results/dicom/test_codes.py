import pytest
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from scripts.domain.classes import CLASSES, UNKNOWN_CLASS
from scripts.domain.phases import PHASES
from scripts.results.dicom import codes

ALL = [
    *(value for value in vars(codes).values() if isinstance(value, Code)),
    *codes.FINDINGS.values(),
    *codes.PHASE_VALUES.values(),
]


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        # PS3.16: what each name of the module has to mean.
        (codes.CATEGORY, "49755003 SCT Morphologically Abnormal Structure"),
        (codes.FINDINGS["hcc"], "25370001 SCT Hepatocellular carcinoma"),
        (codes.FINDINGS["hemangioma"], "2099007 SCT Hemangioma"),
        (codes.FINDINGS[UNKNOWN_CLASS], "108369006 SCT Neoplasm"),
        (codes.LIVER, "10200004 SCT Liver"),
        (codes.SOURCE, "260753009 SCT Source"),
        (codes.VOLUME, "118565006 SCT Volume"),
        (codes.LONGEST_DIAMETER, "103339001 SCT Long axis"),
        (codes.MR_SIGNAL, "110852 DCM MR signal intensity"),
        (codes.MEAN, "373098007 SCT Mean"),
        (codes.CERTAINTY, "111012 DCM Certainty of Finding"),
        (codes.CONTRAST_PHASE, "109058 DCM Contrast Phase"),
        (codes.UNDETERMINED, "373068000 SCT Undetermined"),
        (codes.MILLILITRE, "mL UCUM milliliter"),
        (codes.NO_UNITS, "1 UCUM no units"),
    ],
)
def test_meanings(code, meaning):
    assert f"{code.value} {code.scheme_designator} {code.meaning}" == meaning


@pytest.mark.parametrize(
    ("code", "group", "name"),
    [
        # The context groups that the attributes and templates want: segmentation category and type, algorithm family,
        # report title, ROI measurement (twice), derivation, yes or no.
        (codes.CATEGORY, standard.cid7150, "MorphologicallyAbnormalStructure"),
        (codes.FINDINGS[UNKNOWN_CLASS], standard.cid7151, "Neoplasm"),
        (codes.ARTIFICIAL_INTELLIGENCE, standard.cid7162, "ArtificialIntelligence"),
        (codes.REPORT_TITLE, standard.cid7021, "DynamicContrastMRMeasurementReport"),
        (codes.LONGEST_DIAMETER, standard.cid7469, "LongAxis"),
        (codes.MR_SIGNAL, standard.cid7469, "MRSignalIntensity"),
        (codes.MEAN, standard.cid7464, "Mean"),
        (codes.YES, standard.cid230, "Yes"),
    ],
)
def test_is_in_its_context_group(code, group, name):
    assert code == getattr(group, name)


def test_every_class_and_phase_has_a_code():
    assert set(codes.FINDINGS) == {*CLASSES, UNKNOWN_CLASS}
    assert set(codes.PHASE_VALUES) == set(PHASES)


def test_values_are_unique_and_fit_their_attributes():
    assert len({(code.scheme_designator, code.value) for code in ALL}) == len({code.meaning for code in ALL})
    for code in ALL:
        assert len(code.value) <= 16
        assert len(code.scheme_designator) <= 16
        assert len(code.meaning) <= 64
