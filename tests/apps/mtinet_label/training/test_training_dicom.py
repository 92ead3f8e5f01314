"""Studies from a PACS as training data."""

from __future__ import annotations

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pydicom
import pytest

from lib.labels.store import LabelStore
from lib.studies.dicom_cache import StudyCache
from lib.trainers.dataset import build
from scripts.studies.integrity import check_dataset
from scripts.studies.layout import read_dataset

SHAPE = (48, 40, 12)


@pytest.fixture(scope="module")
def cache(dicom_phantom, tmp_path_factory):
    """Two studies, imported without registration."""
    cache = StudyCache(tmp_path_factory.mktemp("cache"), register="none")
    for key in ("first", "second"):
        subject = dicom_phantom.Subject(shape=SHAPE, tilt_deg=(7.0, -5.0, 11.0))
        filing = dicom_phantom.Filing(key=key, reversed_slices=True)
        written = dicom_phantom.STYLES["separate_series"](tmp_path_factory.mktemp(key), subject=subject, filing=filing)
        cache.add(written.uid, [[pydicom.dcmread(file) for file in series.files] for series in written.series])
    return cache


def test_readers_masks_on_dicom_studies_make_a_dataset_on_the_phases_grid(cache, tmp_path):
    labels = LabelStore(tmp_path / "labels")
    uids = sorted(folder.name for folder in cache.folder.iterdir() if folder.name in cache)
    for uid in uids:
        study = cache.load(uid)
        mask = np.zeros(study.grid(study.reference).shape, dtype=np.uint8)
        mask[8:14, 12:22, 3:6] = 2
        labels.save(uid, mask=mask, study=study, diagnosis="hcc", reader="reader")
    made = build(tmp_path / "training", source=SimpleNamespace(open=cache.load), labels=labels)
    # The phantom writes the same subject twice, which the check would report.
    faults = [fault for fault in check_dataset(made.folder) if "duplicate subject" not in str(fault)]
    assert made.left_out == {}
    assert faults == []
    for case in read_dataset(made.folder):
        arterial, label = nib.load(case.phase_files[1]), nib.load(case.label_file)
        np.testing.assert_allclose(label.affine, arterial.affine, atol=1e-3)
        assert np.argwhere(np.asarray(label.dataobj))[0].tolist() == [8, 12, 3]
        assert case.times_s == cache.load(case.case).case.times_s
