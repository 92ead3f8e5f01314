"""Phases of other breath-holds: masks, clicks and curves on a series' own grid lie on the lesion as it is displayed."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lib.analysis import Analysed
from lib.clicks import read_clicks
from lib.datastore import StudyDatastore
from lib.drawn_mask import read_mask
from lib.grids import nearest, on_grid, reference_grid
from lib.infers.automatic import AutomaticTask
from lib.infers.interactive import InteractiveTask
from lib.infers.region import RegionTask
from lib.labels.store import LabelStore
from lib.nrrd_file import nrrd, read_nrrd
from lib.orientation import file_affine, to_file_order, to_study_order
from lib.refining import Refined
from lib.region import region_curves
from lib.routes import monailabel
from lib.routes import study as study_routes
from lib.studies.dicom_cache import ABOUT_FOLDER, RECORD_FILE, StudyCache
from lib.studies.dicomweb import DicomwebSource
from lib.studies.study import OpenStudy
from lib.volumes import Volumes
from scripts.domain.errors import StudyError
from scripts.domain.phases import PHASES
from scripts.domain.prediction import Prediction
from scripts.results.lesions import analyse
from scripts.studies import registration
from scripts.studies.displacement import Displacement
from scripts.studies.elastix import NoMotionFoundError

SHAPE = (128, 120, 44)
TILT_DEG = (7.0, -5.0, 11.0)
SHIFTS_MM = {"pre": (-5.0, 3.0, -7.0), "portal_venous": (4.0, -8.0, 13.0), "delayed": (0.0, 6.0, 10.0)}
MOVED = tuple(SHIFTS_MM)


@dataclass(frozen=True)
class Breathing:
    """A study of four breath-holds as the server opens it, and what is known about it."""

    written: Any
    study: OpenStudy

    def series(self, phase: str) -> str:
        return self.written.of_role(phase).uid

    @property
    def label(self) -> np.ndarray:
        """The lesions on the reference grid, in the axes of its file."""
        return self.written.subject.label.array.astype(np.uint8)

    def shift_mm(self, phase: str) -> np.ndarray:
        """How far the anatomy lies from where it is in the reference phase, RAS."""
        own = self.written.subject.phantom.truth["shifts_mm"][PHASES.index(phase)]
        turned = Rotation.from_euler("xyz", TILT_DEG, degrees=True).as_matrix()
        return turned @ np.add(own, SHIFTS_MM[phase])

    def truth_on(self, phase: str) -> np.ndarray:
        """The lesions where the phase shows them, on its own grid."""
        grid, (_, affine) = self.study.grid(self.series(phase)), reference_grid(self.study)
        back = np.eye(4)
        back[:3, 3] = -self.shift_mm(phase)
        to_voxels = np.linalg.inv(affine) @ back @ grid.affine
        return sum(
            value
            * (ndimage.affine_transform((self.label == value) * 1.0, to_voxels, output_shape=grid.shape, order=1) > 0.5)
            for value in (1, 2)
        ).astype(np.uint8)


@pytest.fixture(scope="module")
def breathing(dicom_phantom, read_series, tmp_path_factory) -> Breathing:
    subject = dicom_phantom.Subject(shape=SHAPE, seed=7, tilt_deg=TILT_DEG, shifts_mm=SHIFTS_MM)
    filing = dicom_phantom.Filing(key="breathing", reversed_slices=True)
    written = dicom_phantom.separate_series(tmp_path_factory.mktemp("dicom"), subject=subject, filing=filing)
    cache = StudyCache(tmp_path_factory.mktemp("cache"), register="rigid")
    cache.add(written.uid, read_series(written))
    return Breathing(written, cache.load(written.uid))


def centre_mm(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return apply_affine(affine, ndimage.center_of_mass(mask > 0))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero((one > 0) & (other > 0)) / (np.count_nonzero(one) + np.count_nonzero(other))


# What is missing or damaged.


@pytest.fixture
def copied(breathing, tmp_path) -> StudyCache:
    """The study in a cache of its own, to be spoilt."""
    shutil.copytree(breathing.study.case.phase_files[0].parents[1], tmp_path / "cache" / breathing.written.uid)
    return StudyCache(tmp_path / "cache", register="rigid")


@pytest.mark.parametrize("damage", ["gone", "cut off"])
def test_a_damaged_displacement_damages_the_study(copied, breathing, damage):
    file = copied.folder / breathing.written.uid / ABOUT_FOLDER / "displacement_delayed.nii.gz"
    file.unlink() if damage == "gone" else file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(StudyError, match="has to be fetched again"):
        copied.load(breathing.written.uid)


def test_a_study_of_an_earlier_server_is_fetched_again(written, dicom_study, fake_pacs, tmp_path):
    folder = tmp_path / "cache" / written.uid
    shutil.copytree(dicom_study.case.phase_files[0].parents[1], folder)
    record = json.loads((folder / RECORD_FILE).read_text())
    for phase in record["phases"].values():
        del phase["displaced"]
    (folder / RECORD_FILE).write_text(json.dumps(record | {"format": 2}))
    source = DicomwebSource("http://127.0.0.1:9/dicom-web/", tmp_path / "cache", register="none")
    source.pacs = fake_pacs(written)
    assert source.open(written.uid).reference == dicom_study.reference
    assert source.pacs.asked.count("images") == 4
    assert json.loads((folder / RECORD_FILE).read_text())["format"] == 3


@pytest.mark.parametrize("register", ["none", "rigid"])
def test_without_a_registration_masks_stay_where_the_scanner_says(
    written, read_series, draw, tmp_path, monkeypatch, register
):
    def gives_up(*_, **__) -> None:
        raise NoMotionFoundError("internal error")

    monkeypatch.setattr(registration, "find_motion", gives_up)
    cache = StudyCache(tmp_path / "cache", register=register)
    cache.add(written.uid, read_series(written))
    study = cache.load(written.uid)
    assert study.displacements == {}
    series, mask = written.of_role("portal_venous").uid, draw(study)
    grid, (_, affine) = study.grid(series), reference_grid(study)
    expected = nearest(mask, affine, shape=grid.shape, target=grid.affine)
    np.testing.assert_array_equal(on_grid(mask, study, series), expected)
    np.testing.assert_array_equal(read_mask(nrrd(expected, grid.affine), study, series), mask)


def test_the_reference_is_never_displaced(breathing):
    study = breathing.study
    assert set(study.displacements) == {breathing.series(phase) for phase in MOVED}
    for name in (None, study.case_id, study.reference):
        assert study.displacement(name) is None
        np.testing.assert_array_equal(on_grid(breathing.label, study, name), breathing.label)


@pytest.mark.parametrize("phase", MOVED)
def test_an_empty_mask_stays_empty(breathing, phase):
    study, series = breathing.study, breathing.series(phase)
    shown = on_grid(np.zeros_like(breathing.label), study, series)
    assert not shown.any()
    assert not read_mask(nrrd(shown, study.grid(series).affine), study, series).any()


# Where the geometry is known.


@pytest.mark.parametrize("phase", MOVED)
def test_the_mask_lies_on_the_lesion_of_the_phase_and_comes_back(breathing, phase):
    study, series = breathing.study, breathing.series(phase)
    grid, (_, affine) = study.grid(series), reference_grid(study)
    shown = on_grid(breathing.label, study, series)
    expected_mm = centre_mm(breathing.label, affine) + breathing.shift_mm(phase)
    assert np.linalg.norm(centre_mm(shown, grid.affine) - expected_mm) < 1.0
    assert dice(shown, breathing.truth_on(phase)) > 0.85
    # By coordinates alone it would lie beside it.
    by_coordinates = nearest(breathing.label, affine, shape=grid.shape, target=grid.affine)
    assert np.linalg.norm(centre_mm(by_coordinates, grid.affine) - expected_mm) > 5.0
    assert dice(read_mask(nrrd(shown, grid.affine), study, series), breathing.label) >= 0.95


@pytest.mark.parametrize("phase", MOVED)
@pytest.mark.parametrize("unit", ["voxels", "mm"])
def test_a_click_on_the_displayed_lesion_lies_in_the_lesion(breathing, phase, unit):
    study, series = breathing.study, breathing.series(phase)
    grid, (_, affine) = study.grid(series), reference_grid(study)
    expected_mm = centre_mm(breathing.label, affine)
    clicked = expected_mm + breathing.shift_mm(phase)
    point = clicked if unit == "mm" else apply_affine(np.linalg.inv(grid.affine), clicked)
    (click,) = read_clicks({"foreground": [point.tolist()], "points_in": unit}, study, series)
    assert np.linalg.norm(np.subtract(click.world_mm, expected_mm)) < 1.0
    (plain,) = read_clicks({"foreground": [expected_mm.tolist()], "points_in": "mm"}, study, None)
    np.testing.assert_allclose(plain.world_mm, expected_mm)


# As a user: OHIF's routes and MONAI Label's.


class KnownAnalyser:
    """Stands for the analyser: finds the true lesions."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = truth
        self.volumes = Volumes()

    def analyse(self, study: OpenStudy) -> Analysed:
        image = self.volumes.study(study)
        tumour = to_study_order(self.truth > 0, image).astype(np.float32)
        prediction = Prediction(tumour=tumour, regression=None, classification=None)
        result, _ = analyse(image, prediction, model={"version": "1", "weights_sha256": "0" * 64}, min_volume_ml=0.0)
        return Analysed(result, self.truth, to_file_order(tumour, image), file_affine(image), None, None, seconds=0.0)

    def cached(self, study: OpenStudy) -> None:
        return None


class KnownRefiner:
    """Stands for the refinement: remembers what it was asked, and answers the truth."""

    weights = Path(__file__)

    def __init__(self, analyser: KnownAnalyser) -> None:
        self.analyser, self.asked = analyser, []

    def refine(self, study: OpenStudy, clicks, rough) -> Refined:
        self.asked.append((clicks, rough))
        analysed = self.analyser.analyse(study)
        return Refined(analysed, ("network",) * len(analysed.result.lesions))


class Serving:
    """What the routes need of the app."""

    def __init__(self, source: DicomwebSource, labels: LabelStore, analyser: KnownAnalyser) -> None:
        self.analyser, self.store = analyser, StudyDatastore(source, labels)
        self.refiner = KnownRefiner(analyser)
        self.tasks = {
            "mtinet": AutomaticTask(source, analyser),
            "mtinet_clicks": InteractiveTask(source, analyser, self.refiner),
            "region_curve": RegionTask(source, labels, analyser),
        }

    def datastore(self) -> StudyDatastore:
        return self.store

    def infer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        file, params = self.tasks[request["model"]](request)
        return {"file": file, "params": params}

    def on_save_label(self, image: str, label: str) -> None:
        """As upstream."""


@pytest.fixture
def serving(copied, breathing, fake_pacs, tmp_path) -> Serving:
    source = DicomwebSource("http://127.0.0.1:9/dicom-web/", copied.folder, register="rigid")
    source.pacs = fake_pacs(breathing.written)
    serving = Serving(source, LabelStore(tmp_path / "labels"), KnownAnalyser(breathing.label))
    yield serving
    serving.store.sender.stop()


@pytest.fixture
def client(serving) -> TestClient:
    server = FastAPI()
    server.include_router(study_routes.router(serving))
    server.include_router(monailabel.router(serving))
    return TestClient(server)


def on_lesion(content: bytes, breathing: Breathing, phase: str) -> bool:
    """Whether an NRRD file lies on the grid and on the lesion of a phase."""
    mask, affine = read_nrrd(content, most_voxels=10**8)
    grid = breathing.study.grid(breathing.series(phase))
    assert mask.shape == grid.shape
    np.testing.assert_allclose(affine, grid.affine, atol=1e-3)
    truth = breathing.truth_on(phase)
    return np.linalg.norm(centre_mm(mask, affine) - centre_mm(truth, affine)) < 1.0 and dice(mask, truth) > 0.85


@pytest.mark.parametrize("phase", MOVED)
def test_answers_of_all_routes_lie_on_the_displayed_lesion(client, breathing, phase):
    uid, series = breathing.written.uid, breathing.series(phase)
    for address in (f"/mtinet/studies/{uid}/mask?series={series}", f"/mtinet/studies/{series}/mask"):
        assert on_lesion(client.get(address).content, breathing, phase)
    for model in ("mtinet", "mtinet_clicks"):
        answer = client.post(
            f"/infer/{model}?image={series}&output=image", data={"params": '{"result_extension": ".nrrd"}'}
        )
        assert on_lesion(answer.content, breathing, phase)


def field_of(said: Mapping[str, Any]) -> Displacement:
    """As a client reads it."""
    return Displacement(np.reshape(said["vectors"], (*said["shape"], 3)).astype(np.float32), np.array(said["affine"]))


def test_a_viewer_gets_the_ways_between_the_phases(client, breathing):
    uid, (_, affine) = breathing.written.uid, reference_grid(breathing.study)
    assert client.get(f"/mtinet/studies/{uid}/displacement").json() == {"to_phase": None, "to_reference": None}
    place = centre_mm(breathing.label, affine)
    for phase in MOVED:
        said = client.get(f"/mtinet/studies/{uid}/displacement?series={breathing.series(phase)}").json()
        there = field_of(said["to_phase"]).to_phase(place)
        assert np.linalg.norm(there - place - breathing.shift_mm(phase)) < 0.6
        assert np.linalg.norm(field_of(said["to_reference"]).to_phase(there) - place) < 0.05
    for case, series in (("1.2.3", ""), (uid, "1.2.3"), (uid, "../x")):
        address = f"/mtinet/studies/{case}/displacement?series={series}"
        assert client.get(address).status_code in (400, 404)


def test_a_mask_drawn_on_a_phase_is_saved_on_the_reference(client, serving, breathing):
    uid, series = breathing.written.uid, breathing.series("portal_venous")
    drawn = breathing.truth_on("portal_venous")
    content = nrrd(drawn, breathing.study.grid(series).affine)
    ways = {
        "ours, a file": lambda: client.put(
            f"/mtinet/studies/{uid}/label", files={"mask": ("m.nrrd", content)}, data={"series": series}
        ),
        "ours, bytes": lambda: client.put(
            f"/mtinet/studies/{series}/label", files={"mask": ("m.raw", drawn.tobytes(order="F"))}
        ),
        "MONAI Label's": lambda: client.put(
            f"/datastore/label?image={series}&tag=final", files={"label": ("m.nrrd", content)}
        ),
    }
    for version, (way, send) in enumerate(ways.items(), start=1):
        assert send().status_code == 200, way
        label = serving.store.labels.latest(uid)
        assert label.version == version
        saved = np.asarray(nib.load(label.mask_file).dataobj)
        assert dice(saved, breathing.label) > 0.85, way
        affine = reference_grid(breathing.study)[1]
        assert np.linalg.norm(centre_mm(saved, affine) - centre_mm(breathing.label, affine)) < 1.0
        again = client.get(f"/mtinet/studies/{uid}/label/mask?series={series}").content
        assert dice(read_nrrd(again, most_voxels=10**8)[0], drawn) >= 0.95, way


def test_the_curve_of_a_drawn_mask_is_that_of_the_lesion(client, breathing):
    uid, series = breathing.written.uid, breathing.series("portal_venous")
    content = nrrd(breathing.truth_on("portal_venous"), breathing.study.grid(series).affine)
    moved = read_mask(content, breathing.study, series)
    truth = region_curves(moved, breathing.study, KnownAnalyser(breathing.label))["lesions"][0]
    expected = region_curves(breathing.label, breathing.study, KnownAnalyser(breathing.label))["lesions"][0]
    ours = client.post(
        f"/mtinet/studies/{uid}/region", files={"mask": ("m.nrrd", content)}, data={"series": series}
    ).json()["lesions"][0]
    theirs = client.post(
        f"/infer/region_curve?image={series}&output=json", files={"label": ("m.nrrd", content)}
    ).json()["lesions"][0]
    assert ours["enhancement"] == theirs["enhancement"] == truth["enhancement"]
    np.testing.assert_allclose(ours["enhancement"]["from_mask"], expected["enhancement"]["from_mask"], rtol=0.05)
    assert np.linalg.norm(np.subtract(ours["centroid_mm"], expected["centroid_mm"])) < 1.0


def test_clicks_and_a_rough_mask_reach_the_refinement_on_the_reference(client, serving, breathing):
    series = breathing.series("delayed")
    grid, (_, affine) = breathing.study.grid(series), reference_grid(breathing.study)
    drawn, expected_mm = breathing.truth_on("delayed"), centre_mm(breathing.label, affine)
    voxel = np.rint(apply_affine(np.linalg.inv(grid.affine), expected_mm + breathing.shift_mm("delayed")))
    answer = client.post(
        f"/infer/mtinet_clicks?image={series}&output=image",
        data={"params": json.dumps({"foreground": [voxel.tolist()], "result_extension": ".nrrd"})},
        files={"label": ("m.nrrd", nrrd(drawn, grid.affine))},
    )
    assert on_lesion(answer.content, breathing, "delayed")
    (((click,), rough),) = serving.refiner.asked
    assert np.linalg.norm(np.subtract(click.world_mm, expected_mm)) < 4.0  # half a voxel's diagonal, and the rest
    assert dice(rough, breathing.label) > 0.85


def test_the_image_of_a_moved_series_is_the_one_that_masks_are_drawn_on(serving, breathing):
    for phase in MOVED:
        true = breathing.written.phases[phase].volume
        for _ in range(2):
            image = nib.load(serving.store.get_image_uri(breathing.series(phase)))
            np.testing.assert_allclose(image.affine, true.affine, atol=1e-3)
            np.testing.assert_allclose(np.asarray(image.dataobj), true.array, atol=0.51)
    for name in (breathing.written.uid, breathing.series("arterial")):
        assert Path(serving.store.get_image_uri(name)).parent.name == "images"
