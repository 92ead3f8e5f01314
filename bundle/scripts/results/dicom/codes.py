"""The coded concepts of a result: standard ones where they exist, else the private scheme ``99MTINET``.

Standard codes are taken from pydicom's copy of PS3.16 where it holds them. Its context groups know the hemangioma and
no hepatocellular carcinoma (CID 7151 is extensible), so that one is spelled out; both are SNOMED CT's morphologies, as
the site is stated beside them.
"""

from __future__ import annotations

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from ...domain.classes import UNKNOWN_CLASS
from ...domain.phases import PHASES

PRIVATE_SCHEME = "99MTINET"

CATEGORY = codes.cid7150.MorphologicallyAbnormalStructure
"""Segmentation Property Category (CID 7150); its members name no neoplasm, which is a type (CID 7151)."""

FINDINGS = {
    "hemangioma": codes.SCT.Hemangioma,
    "hcc": Code("25370001", "SCT", "Hepatocellular carcinoma"),
    UNKNOWN_CLASS: codes.cid7151.Neoplasm,
}
"""Segmented property type and finding, by a lesion's class."""

LIVER = codes.SCT.Liver
ARTIFICIAL_INTELLIGENCE = codes.cid7162.ArtificialIntelligence
MR = codes.cid29.MagneticResonance
PROCEDURE = codes.cid100.MRIUnspecifiedBodyRegion
REPORT_TITLE = codes.cid7021.DynamicContrastMRMeasurementReport

VOLUME = codes.cid7469.Volume
LONGEST_DIAMETER = codes.cid7470.LongAxis
MR_SIGNAL = codes.cid7469.MRSignalIntensity
MEAN = codes.cid7464.Mean
CERTAINTY = codes.cid6048.CertaintyOfFinding
NUMBER_OF_LESIONS = codes.SCT.NumberOfLesions
FINDING = codes.DCM.Finding
COMMENT = codes.DCM.Comment
SOURCE = Code("260753009", "SCT", "Source")
CONTRAST_PHASE = codes.DCM.ContrastPhase
YES, NO, UNDETERMINED = codes.cid230.Yes, codes.cid230.No, codes.cid230.Undetermined

MILLILITRE = Code("mL", "UCUM", "milliliter")
MILLIMETRE = codes.UCUM.Millimeter
SECOND = codes.UCUM.Second
PERCENT = codes.UCUM.Percent
RATIO = codes.UCUM.Ratio
NO_UNITS = codes.UCUM.NoUnits


def _private(value: str, meaning: str) -> Code:
    return Code(value, PRIVATE_SCHEME, meaning)


PHASE_VALUES = dict(
    zip(
        PHASES,
        (
            _private("PH_PRE", "Pre-contrast phase"),
            _private("PH_ART", "Arterial phase"),
            _private("PH_PV", "Portal venous phase"),
            _private("PH_DEL", "Delayed phase"),
        ),
        strict=True,
    )
)
"""Values of ``CONTRAST_PHASE``; PS3.16 names the concept and defines no values for a liver's phases."""

TIME_AFTER_INJECTION = _private("TIME_INJ", "Time after the injection")
RELATIVE_ENHANCEMENT = _private("REL_ENH", "Relative enhancement to pre-contrast")
SIGNAL_RATIO = _private("PSR", "Percentage signal ratio, liver ring to lesion")
KINETIC_RULE = _private("RULE", "Class by the kinetic rule")
HYPERENHANCEMENT = _private("APHE", "Arterial phase hyperenhancement")
WASHOUT = _private("WASHOUT", "Delayed phase washout")


def private_scheme(organisation: str) -> CodingSchemeIdentificationItem:
    """What the private scheme is, for the header of a document that uses it."""
    return CodingSchemeIdentificationItem(
        designator=PRIVATE_SCHEME, name="MTI-Net liver enhancement", responsible_organization=organisation
    )
