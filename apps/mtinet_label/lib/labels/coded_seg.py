"""A reader's mask as a coded DICOM SEG in the study it was drawn on."""

from __future__ import annotations

import json
import unicodedata
import warnings

import highdicom as hd
import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from lib.labels.label import Label
from lib.labels.lesions import class_of
from lib.studies.pacs import Pacs
from lib.studies.study import OpenStudy
from scripts.domain.classes import NO_LESION
from scripts.domain.errors import StudyError
from scripts.engines.dicom_output import source_of
from scripts.results.components import Component, find_components
from scripts.results.dicom import codes
from scripts.results.dicom.equipment import METADATA_PATH
from scripts.results.dicom.segmentation import CLASS_NAMES, refer_to_frames, to_frames
from scripts.results.dicom.source import plane
from scripts.studies.dicom.privacy import quiet_libraries

SERIES_NUMBER = 9011
SERIES_DESCRIPTION = "Reader's liver lesions (research use only)"
MODEL_NAME = "MTI-Net MONAI Label app"

_ROOT = "1.2.826.0.1.3680043.8.498."
"""Under which pydicom makes UIDs; from the same words it makes the same one."""


def sop_instance_uid(label: Label) -> str:
    """The SEG's identifier: sending a version again cannot make a second object."""
    return _uid(label, "instance")


def write_seg(label: Label, study: OpenStudy) -> Dataset:
    """Write a label as a binary segmentation of the reference phase, one segment a lesion.

    Args:
        label: with a mask and at least one lesion: a SEG without segments is not allowed.
        study: the label's study, from DICOM.

    Returns:
        The SEG, not yet saved. The algorithm type is manual; who drew it is the content's creator; which version it is
        and the study's diagnosis stand in the content's description.

    Raises:
        StudyError: no lesion, no DICOM study, a mask that is not on the reference phase's grid, or an image lacks what
            a reference needs.
    """
    if study.imported is None:
        msg = "the study did not come from DICOM, so its label cannot go back as DICOM"
        raise StudyError(msg)
    if label.mask_file is None or not label.lesions:
        msg = "the label holds no lesion, and a DICOM SEG needs one"
        raise StudyError(msg)
    # pydicom's and highdicom's warnings quote the values that they find odd, a patient's name among them.
    with quiet_libraries(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _document(label, study)


def store_seg(url: str, dataset: Dataset, *, auth: tuple[str, str] | None = None) -> None:
    """Store a SEG by STOW-RS.

    Args:
        url: of the DICOMweb root.
        dataset: from ``write_seg``.
        auth: name and password that the PACS wants.

    Raises:
        UnavailableError: the PACS does not answer, or refuses it.
    """
    Pacs(url, auth=auth).store(dataset)


def _document(label: Label, study: OpenStudy) -> Dataset:
    image = nib.load(label.mask_file)
    mask = np.asarray(image.dataobj, dtype=np.uint8)
    components, _ = find_components(mask > 0)
    numbered = np.zeros(mask.shape, dtype=np.uint16)
    for number, component in enumerate(components, start=1):
        numbered[component.box][component.mask] = number
    source = source_of(study.imported)
    metadata = json.loads(METADATA_PATH.read_text())
    document = hd.seg.Segmentation(
        source_images=[plane(frame, source.reference) for frame in source.reference.frames],
        pixel_array=to_frames(numbered, image.affine, source.reference),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(label, n, component, mask) for n, component in enumerate(components, start=1)],
        series_instance_uid=_uid(label, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=sop_instance_uid(label),
        instance_number=label.version,
        series_description=SERIES_DESCRIPTION,
        manufacturer=metadata["authors"],
        manufacturer_model_name=MODEL_NAME,
        software_versions=metadata["version"],
        device_serial_number="1",
        content_label="READER_LESIONS",
        content_description=_description(label),
        content_creator_name=_person(label.reader),
    )
    refer_to_frames(document, source.reference)
    header = source.patient_and_study
    document.copy_patient_and_study_information(header)
    if "SpecificCharacterSet" in header:
        document.SpecificCharacterSet = header.SpecificCharacterSet
    return document


def _describe(label: Label, number: int, component: Component, mask: np.ndarray) -> hd.seg.SegmentDescription:
    tumour_class = class_of(component, mask)
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=f"Lesion {number}: {CLASS_NAMES[tumour_class]}",
        segmented_property_category=codes.CATEGORY,
        segmented_property_type=codes.FINDINGS[tumour_class],
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        tracking_id=f"Reader's lesion {number}, version {label.version}",
        tracking_uid=_uid(label, f"lesion {number}"),
        anatomic_regions=[codes.LIVER],
    )


def _description(label: Label) -> str:
    """At most 64 characters."""
    said = "no lesion" if label.diagnosis == NO_LESION else CLASS_NAMES.get(label.diagnosis, "not set")
    return f"Reader's mask, version {label.version}; diagnosis: {said}"


def _person(reader: str) -> str:
    """A person's name that every character set has; PN allows a family name alone."""
    plain = unicodedata.normalize("NFKD", reader).encode("ascii", "ignore").decode("ascii").strip()
    return f"{plain or 'Reader'}^"


def _uid(label: Label, what: str) -> str:
    return generate_uid(prefix=_ROOT, entropy_srcs=[label.case_id, str(label.version), label.saved_at, what])
