import dataclasses
import json
import subprocess

import highdicom as hd
import pydicom
import pytest
from pydicom.sr.codedict import codes as standard

from scripts.domain.phases import PHASES
from scripts.results.dicom import codes
from scripts.results.dicom.equipment import equipment_of
from scripts.results.dicom.measurements import measurements
from scripts.results.dicom.segmentation import segmentation, track_lesions


def report(path) -> hd.sr.MeasurementReport:
    return hd.sr.Comprehensive3DSR.from_dataset(pydicom.dcmread(path)).content


def modified_by(measurement, name):
    """The code value of a measurement's modifier; None without it."""
    content = getattr(measurement[0], "ContentSequence", [])
    return next((x.value.value for x in content if x.name == name and x.RelationshipType == "HAS CONCEPT MOD"), None)


def by_phase(group, name) -> dict[str, float]:
    return {modified_by(m, codes.CONTRAST_PHASE): m.value for m in group.get_measurements(name)}


@pytest.fixture(scope="module")
def content(finished):
    return report(finished.files["measurements"])


@pytest.fixture(scope="module")
def groups(content):
    return content.get_volumetric_roi_measurement_groups()


def test_numbers_are_the_results(finished, groups):
    assert len(groups) == len(finished.result.lesions) == 2
    names = {name: codes.PHASE_VALUES[name].value for name in PHASES}
    for group, lesion in zip(groups, finished.result.lesions, strict=True):
        (volume,), (diameter,) = (group.get_measurements(n) for n in (codes.VOLUME, codes.LONGEST_DIAMETER))
        assert (volume.value, volume.unit.value) == (lesion.volume_ml, "mL")
        assert (diameter.value, diameter.unit.value) == (lesion.max_diameter_mm, "mm")
        enhancement = lesion.enhancement
        assert by_phase(group, codes.MR_SIGNAL) == dict(zip(names.values(), enhancement.from_mask, strict=True))
        assert by_phase(group, codes.RELATIVE_ENHANCEMENT) == {
            names[name]: value for name, value in zip(PHASES[1:], enhancement.relative[1:], strict=True)
        }
        assert by_phase(group, codes.SIGNAL_RATIO) == {
            names["portal_venous"]: enhancement.psr_portal_venous,
            names["delayed"]: enhancement.psr_delayed,
        }


def test_signals_are_means_without_unit_and_ratios_have_theirs(groups):
    for signal in groups[0].get_measurements(codes.MR_SIGNAL):
        assert (signal.unit.value, signal.derivation.value) == ("1", "373098007")
    assert {m.unit.value for m in groups[0].get_measurements(codes.RELATIVE_ENHANCEMENT)} == {"{ratio}"}
    assert {m.unit.value for m in groups[0].get_measurements(codes.SIGNAL_RATIO)} == {"%"}


def test_finding_comes_with_its_probability(finished, groups):
    for group, lesion in zip(groups, finished.result.lesions, strict=True):
        assert group.finding_category.value == "49755003"
        assert group.finding_type.value == codes.FINDINGS[lesion.predicted_class].value
        assert [site.value.value for site in group.finding_sites] == ["10200004"]
        certainties = group.get_measurements(codes.CERTAINTY)
        found = {modified_by(m, codes.FINDING): m.value for m in certainties}
        assert found == {codes.FINDINGS[name].value: 100.0 * p for name, p in lesion.probabilities.items()}
        assert modified_by(certainties[0], codes.FINDING) == group.finding_type.value


def test_dcmqi_reads_the_same_numbers(finished, dicom_tool, tmp_path):
    out = tmp_path / "report.json"
    command = [
        dicom_tool("tid1500reader"),
        *("--inputDICOM", finished.files["measurements"], "--outputMetadata", out),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    read = json.loads(out.read_text())["Measurements"]
    for group, lesion in zip(read, finished.result.lesions, strict=False):
        found = {}
        for item in group["measurementItems"]:
            modifiers = [m["modifierValue"]["CodeValue"] for m in item.get("measurementModifiers", [])]
            found[item["quantity"]["CodeValue"], *modifiers] = float(item["value"])
        enhancement = lesion.enhancement
        expected = {
            (codes.VOLUME.value,): lesion.volume_ml,
            (codes.LONGEST_DIAMETER.value,): lesion.max_diameter_mm,
            (codes.MR_SIGNAL.value, "PH_DEL"): enhancement.from_mask[3],
            (codes.RELATIVE_ENHANCEMENT.value, "PH_ART"): enhancement.relative[1],
            (codes.SIGNAL_RATIO.value, "PH_DEL"): enhancement.psr_delayed,
            (codes.CERTAINTY.value, codes.FINDINGS["hcc"].value): 100.0 * lesion.probabilities["hcc"],
        }
        assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-12)
    assert len(read) == 3


def test_signs_and_the_rules_opinion(finished, groups):
    for group, lesion in zip(groups, finished.result.lesions, strict=True):
        (rule,) = group.get_qualitative_evaluations(codes.KINETIC_RULE)
        assert rule.value.value == codes.FINDINGS[lesion.rule_class].value
        (sign,) = group.get_qualitative_evaluations(codes.HYPERENHANCEMENT)
        assert (sign.value.meaning == "Yes") is lesion.enhancement.arterial_hyperenhancement
        (washout,) = group.get_qualitative_evaluations(codes.WASHOUT)
        assert (washout.value.meaning == "Yes") is lesion.enhancement.washout
    assert {lesion.rule_class for lesion in finished.result.lesions} == {"hcc", "hemangioma"}


def test_lesions_are_the_segments(finished, groups):
    read = hd.seg.segread(str(finished.files["segmentation"]))
    for number, (group, segment) in enumerate(zip(groups, read.SegmentSequence, strict=True), start=1):
        assert group.tracking_uid == segment.TrackingUID
        assert group.tracking_identifier == segment.TrackingID == f"MTI-Net lesion {number}"
        assert group.finding_type.value == segment.segmented_property_type.value
        segment_item, source_series = group.referenced_segment
        referenced = segment_item.ReferencedSOPSequence[0]
        assert referenced.ReferencedSOPInstanceUID == read.SOPInstanceUID
        assert referenced.ReferencedSegmentNumber == number
        assert source_series.value == finished.written.source.reference.header.SeriesInstanceUID


def test_image_library_holds_every_image_of_every_phase(finished, content):
    (library,) = (x for x in content[0].ContentSequence if x.name == standard.DCM.ImageLibrary)
    assert len(library.ContentSequence) == 4
    for name, time_s, group in zip(PHASES, (0.0, 28.0, 71.0, 175.0), library.ContentSequence, strict=True):
        items = {x.name.value: x for x in group.ContentSequence}
        assert items[codes.CONTRAST_PHASE.value].value.value == codes.PHASE_VALUES[name].value
        assert items[codes.TIME_AFTER_INJECTION.value].value == time_s
        images = [x.ReferencedSOPSequence[0] for x in group.ContentSequence if x.ValueType == "IMAGE"]
        frames = finished.written.source.phases[name].frames
        assert [x.ReferencedSOPInstanceUID for x in images] == [f.header.SOPInstanceUID for f in frames]


def test_a_nominal_time_is_not_measured(write_study, finish):
    written = write_study()
    study = dataclasses.replace(written.study, nominal_times=("arterial", "delayed"))
    content = report(finish(dataclasses.replace(written, study=study)).files["measurements"])
    (library,) = (x for x in content[0].ContentSequence if x.name == standard.DCM.ImageLibrary)
    names = [{x.name.value for x in group.ContentSequence} for group in library.ContentSequence]
    assert [codes.TIME_AFTER_INJECTION.value in each for each in names] == [True, False, True, False]


def test_evidence_names_all_series_and_the_segmentation(finished):
    read = pydicom.dcmread(finished.files["measurements"])
    (study,) = read.CurrentRequestedProcedureEvidenceSequence
    series = {stack.header.SeriesInstanceUID for stack in finished.written.source.phases.values()}
    series.add(pydicom.dcmread(finished.files["segmentation"]).SeriesInstanceUID)
    assert {x.SeriesInstanceUID for x in study.ReferencedSeriesSequence} == series
    assert "PertinentOtherEvidenceSequence" not in read


def test_signal_refers_to_the_slices_that_hold_the_lesion(finished, finished_multi_frame):
    group = report(finished.files["measurements"]).get_volumetric_roi_measurement_groups()[0]
    delayed = group.get_measurements(codes.MR_SIGNAL)[3]
    # The HCC reaches from stored slice 1 to 5, and the slices are handed over from the last to the first.
    frames = finished.written.source.phases["delayed"].frames[4:9]
    uids = [x.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for x in delayed.referenced_images]
    assert uids == [frame.header.SOPInstanceUID for frame in frames]
    group = report(finished_multi_frame.files["measurements"]).get_volumetric_roi_measurement_groups()[0]
    (image,) = group.get_measurements(codes.MR_SIGNAL)[3].referenced_images
    assert list(image.ReferencedSOPSequence[0].ReferencedFrameNumber) == [8, 12, 16, 20, 24]


def test_the_observer_is_a_device(finished, content):
    (context,) = content.get_observer_contexts()
    assert context.observer_type == standard.DCM.Device
    device = context.observer_identifying_attributes
    assert device.manufacturer_name == "The MTI-Net bundle authors"
    assert device.model_name == "MTI-Net for multi-phase liver MRI"
    assert device.uid == equipment_of(finished.result).uid
    text = {
        x.name.meaning: x.value
        for x in content.get_volumetric_roi_measurement_groups()[0][0].ContentSequence
        if x.ValueType == "TEXT"
    }
    assert text["Algorithm Version"] == "0.1.0"
    assert text["Algorithm Parameters"] == f"weights_sha256={'ab' * 32}"


def test_is_a_preliminary_unverified_report(finished):
    read = pydicom.dcmread(finished.files["measurements"])
    assert (read.SOPClassUID.name, read.Modality) == ("Comprehensive 3D SR Storage", "SR")
    assert read.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (read.CompletionFlag, read.PreliminaryFlag, read.VerificationFlag) == (
        "COMPLETE",
        "PRELIMINARY",
        "UNVERIFIED",
    )
    assert [x.CodingSchemeDesignator for x in read.CodingSchemeIdentificationSequence] == [codes.PRIVATE_SCHEME]


def test_study_without_a_lesion_says_so(finished_empty):
    content = report(finished_empty.files["measurements"])
    assert content.get_volumetric_roi_measurement_groups() == []
    (study,) = content.get_image_measurement_groups()
    (count,) = study.get_measurements(codes.NUMBER_OF_LESIONS)
    assert count.value == 0
    assert study.finding_type is None


def test_study_as_a_whole(finished, content):
    (study,) = content.get_image_measurement_groups()
    assert study.get_measurements(codes.NUMBER_OF_LESIONS)[0].value == 2
    assert study.finding_type.value == codes.FINDINGS[finished.result.predicted_class].value
    found = {modified_by(m, codes.FINDING): m.value for m in study.get_measurements(codes.CERTAINTY)}
    assert found == {codes.FINDINGS[name].value: 100.0 * p for name, p in finished.result.probabilities.items()}


def test_what_a_missing_phase_takes_away_is_left_out_and_said(write_study, analysed, tmp_path):
    written = write_study()
    image = written.study.image.copy()
    image[3] = 0
    study = dataclasses.replace(written.study, image=image, available=(True, True, True, False))
    source = dataclasses.replace(
        written.source, phases={n: s for n, s in written.source.phases.items() if n != "delayed"}
    )
    result, mask = analysed(study, written.label, heads=False)
    equipment = equipment_of(result)
    lesions = track_lesions(study, result, mask)
    segments = segmentation(study, lesions, source, equipment)
    made = measurements(study, result, lesions, segments, source, equipment)
    made.save_as(tmp_path / "made.dcm", write_like_original=False)
    content = report(tmp_path / "made.dcm")
    group = content.get_volumetric_roi_measurement_groups()[0]
    delayed = codes.PHASE_VALUES["delayed"].value
    for name in (codes.MR_SIGNAL, codes.RELATIVE_ENHANCEMENT, codes.SIGNAL_RATIO):
        assert group.get_measurements(name)
        assert delayed not in by_phase(group, name)
    assert group.get_measurements(codes.CERTAINTY) == []
    assert group.get_qualitative_evaluations(codes.KINETIC_RULE)[0].value == codes.UNDETERMINED
    assert group.finding_type.value == "108369006"
    (study_group,) = content.get_image_measurement_groups()
    comments = [x.value for x in study_group[0].ContentSequence if x.ValueType == "TEXT" and x.name == codes.COMMENT]
    assert comments[1:] == list(result.notes)
