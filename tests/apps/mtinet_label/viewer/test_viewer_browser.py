"""A reader's work in OHIF: headless Chromium, the server, Orthanc and the shipped weights, as a user has them."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from PIL import Image
from scipy import ndimage

from lib.demonstration import phantom_dicom
from lib.demonstration.orthanc import Orthanc
from lib.demonstration.processes import Background, DemonstrationError, free_port
from lib.nrrd_file import read_nrrd
from lib.settings import Settings
from scripts.phantom.grid import abdominal_grid
from scripts.phantom.subject import PhantomStudy, make_study

pytestmark = pytest.mark.slow

APP = Path(__file__).resolve().parents[4] / "apps" / "mtinet_label"
RUNS = APP.parents[1] / "runs" / "label" / "screenshots"
SCREENSHOTS = Path(os.environ.get("MTINET_SCREENSHOTS", RUNS))
SEED, SHAPE, CLASSES = 77, (160, 160, 24), ("hcc", "hcc")
# Drawing without a graphics card, as in OHIF's own tests.
CHROMIUM = (
    "--headless=new",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 240_000
TRAINING_TEXT = """document.querySelector('[data-part="training"]').textContent"""
ORANGE, BLUE = (230, 120, 0), (86, 180, 233)
PHASE_NAMES = ("pre", "arterial", "portal_venous", "delayed")


def missing(reason: str) -> None:
    """Skip, or fail where the machine is meant to have a browser (``MTINET_REQUIRE_BROWSER=1``)."""
    if os.environ.get("MTINET_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True)
class Place:
    """The real parts, running.

    Args:
        address: of the server.
        pacs: DICOMweb root of Orthanc.
        uids: StudyInstanceUIDs, in the order of ``CLASSES``.
        lesions_lps: of each study, the centre of its largest lesion, mm.
    """

    address: str
    pacs: str
    uids: tuple[str, ...]
    lesions_lps: tuple[tuple[float, float, float], ...]

    def ask(self, method: str, url: str, **options: Any) -> requests.Response:
        """An ordinary client's request."""
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, url if "://" in url else self.address + url, timeout=60, **options)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Orthanc with two phantom studies, and the server on it."""
    if not Path(Settings().ohif, "index.html").is_file():
        missing("OHIF is not unpacked: make ohif")
    folder = tmp_path_factory.mktemp("place")
    phantom_dicom.write_studies(folder / "dicom", seed=SEED, classes=CLASSES, shape=SHAPE)
    studies = sorted((folder / "dicom").iterdir())
    uids = tuple(str(pydicom.dcmread(next(study.iterdir())).StudyInstanceUID) for study in studies)
    try:
        pacs = Orthanc(folder / "pacs")
    except DemonstrationError as error:
        missing(str(error))
    port = free_port()
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(APP)]
    command += ["--studies", pacs.dicom_web, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--conf", "state", str(folder / "state"), "--conf", "register", "none", "--conf", "epochs", "60"]
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with pacs:
        pacs.wait()
        pacs.load(sorted((folder / "dicom").rglob("*.dcm")))
        with Background("The server", command, log=folder / "server.log", env=env) as server:
            server.wait_for(f"http://127.0.0.1:{port}/info/", seconds=180)
            lesions = tuple(largest_lesion_lps(phantom(number)) for number in range(1, len(CLASSES) + 1))
            yield Place(f"http://127.0.0.1:{port}", pacs.dicom_web, uids, lesions)


def phantom(number: int) -> PhantomStudy:
    """A study as ``phantom_dicom`` makes it; those after the last of ``CLASSES`` are of its class."""
    seed = np.random.SeedSequence(SEED, spawn_key=(number,))
    return make_study(seed, CLASSES[min(number, len(CLASSES)) - 1], abdominal_grid(SHAPE))


def largest_lesion_lps(study: PhantomStudy) -> tuple[float, float, float]:
    """Centre of the largest lesion of a study, from the phantom's own truth."""
    components, count = ndimage.label(study.label > 0, structure=np.ones((3, 3, 3)))
    sizes = ndimage.sum_labels(components > 0, components, range(1, count + 1))
    centre = ndimage.center_of_mass(components == 1 + int(np.argmax(sizes)))
    x, y, z = (study.affine @ (*centre, 1))[:3]
    return (-x, -y, z)


class Reader:
    """Somebody at the browser."""

    def __init__(self, page: Any, place: Place) -> None:
        self.page = page
        self.place = place
        page.set_default_timeout(PATIENCE_MS)
        self.outside: list[str] = []
        page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        if not url.startswith((self.place.address, "blob:", "data:")):
            self.outside.append(url)

    def open(self, number: int) -> None:
        """Open a study with our mode, and wait for its first image and for the panel."""
        self.page.goto(f"{self.place.address}/viewer/annotate?StudyInstanceUIDs={self.place.uids[number]}")
        self.page.wait_for_selector("canvas.cornerstone-canvas")
        self.page.wait_for_selector('[data-action="analyse"]:not([disabled])')
        self.drawn()

    def drawn(self, viewports: int = 1) -> None:
        """Wait until every viewport has drawn an image: OHIF takes the view of one that has not to the next series."""
        self.page.wait_for_function(
            """count => {
                const shown = window.cornerstone.getEnabledElements().map(each => each.viewport);
                return shown.length === count && shown.every(v => v.viewportStatus === 'rendered' && v.csImage);
            }""",
            arg=viewports,
        )
        self.page.wait_for_timeout(2000)

    def do(self, action: str) -> None:
        """Click one of the panel's buttons, and wait until it is done."""
        self.page.click(f'[data-action="{action}"]')
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is under way, and the picture stands still."""
        self.page.wait_for_selector('[data-action="analyse"]:not([disabled])')
        self.page.wait_for_timeout(1500)

    def says(self, part: str) -> str:
        """The text of a part of the panel."""
        return self.page.inner_text(f'[data-part="{part}"]')

    def show(self, phase: int) -> None:
        """Put another series into the viewport by a double click on its thumbnail."""
        self.page.locator('[data-cy="study-browser-thumbnail"]').nth(phase).dblclick()
        self.page.wait_for_function(
            """phase => {
                const { viewportGridService: grid, displaySetService: sets } = window.services;
                const { viewports, activeViewportId } = grid.getState();
                const shown = sets.getDisplaySetByUID(viewports.get(activeViewportId).displaySetInstanceUIDs[0]);
                return shown.SeriesDescription.endsWith(phase);
            }""",
            arg=PHASE_NAMES[phase],
        )
        self.page.wait_for_timeout(1000)
        self.drawn()

    def spot(self, world: tuple[float, float, float], viewport: int = 0) -> tuple[float, float]:
        """Where a point of the patient is on the page."""
        x, y = self.page.evaluate(
            """([world, n]) => {
                const { viewport } = window.cornerstone.getEnabledElements()[n];
                const { left, top } = viewport.element.getBoundingClientRect();
                const [x, y] = viewport.worldToCanvas(world);
                return [left + x, top + y];
            }""",
            [list(world), viewport],
        )
        return x, y

    def colour(self, x: float, y: float) -> np.ndarray:
        """Mean colour of a small square of the page, RGB."""
        png = self.page.screenshot(clip={"x": x - 2, "y": y - 2, "width": 5, "height": 5})
        return decode(png).reshape(-1, 3).mean(axis=0)

    def sees(self, world: tuple[float, float, float], tint: tuple[int, int, int], viewport: int = 0) -> bool:
        """Whether a point of the patient gets the tint before the patience is over; drawing takes its time."""
        for _ in range(60):
            if is_tinted(self.colour(*self.spot(world, viewport)), tint):
                return True
            self.page.wait_for_timeout(1000)
        self.photograph("not-seen", RUNS)
        return False

    def drag(self, start: tuple[float, float], by: tuple[float, float]) -> None:
        """Pull the mouse with its left button down."""
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(start[0] + by[0], start[1] + by[1], steps=6)
        self.page.mouse.up()
        self.page.wait_for_timeout(1500)

    def painted(self) -> dict[str, int]:
        """Voxels of each class in the labelmap of the displayed series."""
        return self.page.evaluate(
            """() => {
                const { viewportGridService: grid, segmentationService: service } = window.services;
                const shown = service.getSegmentationRepresentations(grid.getActiveViewportId());
                const own = shown.find(each => each.segmentationId.startsWith('mtinet:'));
                const counts = { 1: 0, 2: 0 };
                const { imageIds } = service.getSegmentation(own.segmentationId).representationData.Labelmap;
                for (const id of imageIds) {
                    for (const value of window.cornerstone.cache.getImage(id).voxelManager.getScalarData()) {
                        if (value) counts[value] += 1;
                    }
                }
                return counts;
            }"""
        )

    def photograph(self, name: str, folder: Path = SCREENSHOTS) -> None:
        """For the documentation: ``make screenshots``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(folder / f"{name}.png"))


def decode(png: bytes) -> np.ndarray:
    """``(rows, columns, 3)`` of a PNG."""
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"), dtype=float)


def is_tinted(colour: np.ndarray, tint: tuple[int, int, int]) -> bool:
    """Whether a grey picture shines through in the tint: its chroma points the same way, and strongly enough."""
    chroma, wanted = colour - colour.mean(), np.array(tint, float) - np.mean(tint)
    strength = float(np.linalg.norm(chroma))
    return strength > 25 and float(chroma @ wanted) > 0.9 * strength * float(np.linalg.norm(wanted))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        missing("Chromium is not installed (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=list(CHROMIUM))
        yield opened
        opened.close()


@pytest.fixture
def reader(browser: Any, place: Place) -> Iterator[Reader]:
    """A reader with an empty browser."""
    context = browser.new_context(viewport={"width": 1500, "height": 950})
    yield Reader(context.new_page(), place)
    context.close()


def test_the_grey_picture_is_grey_before_anything_is_analysed(reader: Reader) -> None:
    reader.open(1)
    reader.show(1)

    colour = reader.colour(*reader.spot(reader.place.lesions_lps[1]))

    assert not is_tinted(colour, ORANGE)
    assert not is_tinted(colour, BLUE)


def test_a_reader_analyses_corrects_submits_and_goes_on(reader: Reader) -> None:
    place, lesion = reader.place, reader.place.lesions_lps[0]
    reader.open(0)
    reader.show(1)

    # The model's answer, over the series that is shown, in the colour of its class.
    reader.do("analyse")
    assert reader.says("error") == ""
    assert reader.says("class") == "HCC"
    assert reader.sees(lesion, ORANGE)
    assert reader.page.locator('[data-part="curve"] polyline').count() == 3
    assert "Kinetic rule: HCC" in reader.says("rule")
    assert "Uncertainty: outline" in reader.says("uncertainty")
    assert reader.page.locator('[data-part="class-bar"]').get_attribute("aria-label").startswith("Hemangioma")
    reader.photograph("analysed")

    # Over another phase, at the same place, without analysing again.
    reader.show(3)
    assert reader.sees(lesion, ORANGE)

    # A correction in that phase is there in the others.
    before = reader.painted()
    reader.do("tool-CircularBrush")
    reader.page.click('[data-action="class-hemangioma"]')
    x, y = reader.spot(lesion)
    beside = (x + 60, y - 60)
    reader.drag(beside, (25, 0))
    painted = reader.painted()
    assert painted["1"] > before["1"] == 0
    assert painted["2"] == before["2"]
    assert "not submitted yet" in reader.says("label")
    reader.page.mouse.move(5, 5)
    assert is_tinted(reader.colour(beside[0] + 12, beside[1]), BLUE)
    reader.photograph("corrected")
    reader.show(1)
    assert reader.painted() == painted

    # Taken back, and done again.
    reader.do("undo")
    assert reader.painted()["1"] == 0
    reader.drag(beside, (25, 0))
    painted = reader.painted()
    assert painted["1"] > 0

    # Its own curve, and then it is a label.
    reader.do("region")
    assert reader.says("findings").startswith("Your mask:")
    reader.page.fill('[data-action="reader"]', "AB")
    reader.do("submit")
    assert "Label version 1 by AB" in reader.says("label")
    reader.page.select_option('[data-action="diagnosis"]', "hcc")
    reader.settle()

    label = place.ask("GET", f"/mtinet/studies/{place.uids[0]}/label").json()["label"]
    assert label["diagnosis"] == "hcc"
    assert label["reader"] == "AB"
    assert label["has_mask"]
    assert {lesion["class"] for lesion in label["lesions"]} == {"hemangioma", "hcc"}
    assert counts_in_nrrd(place, 0) == {value: painted[str(value)] for value in (1, 2)}
    segmentation = coded_segmentation(place, 0)
    labels = {segment.SegmentedPropertyTypeCodeSequence[0].CodeValue for segment in segmentation.SegmentSequence}
    assert "78961009" not in labels  # the spleen
    assert {segment.SegmentAlgorithmType for segment in segmentation.SegmentSequence} == {"MANUAL"}

    # Opened again, it shows what was submitted.
    reader.open(0)
    reader.settle()
    assert reader.says("error") == ""
    assert reader.painted() == painted
    assert reader.page.input_value('[data-action="diagnosis"]') == "hcc"

    # The next study is the other one.
    reader.page.select_option('[data-action="strategy"]', "random")
    reader.page.click('[data-action="next"]')
    reader.page.wait_for_url(f"**StudyInstanceUIDs={place.uids[1]}")
    reader.page.wait_for_selector("canvas.cornerstone-canvas")
    assert reader.outside == []


def counts_in_nrrd(place: Place, number: int) -> dict[int, int]:
    """Voxels of each class in the stored mask, on the arterial grid."""
    answer = place.ask("GET", f"/mtinet/studies/{place.uids[number]}/label/mask")
    mask, _ = read_nrrd(answer.content, most_voxels=2 * int(np.prod(SHAPE)))
    return {value: int((mask == value).sum()) for value in (1, 2)}


def coded_segmentation(place: Place, number: int) -> pydicom.Dataset:
    """The study's SEG in Orthanc, which may need a moment to get there."""
    study = f"{place.pacs}/studies/{place.uids[number]}"
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        found = place.ask("GET", f"{study}/series", params={"Modality": "SEG"}).json()
        if found:
            series = sorted(each["0020000E"]["Value"][0] for each in found)[-1]
            orthanc = place.pacs.removesuffix("/dicom-web")
            query = {"Level": "Instance", "Query": {"SeriesInstanceUID": series}}
            (instance, *_) = place.ask("POST", f"{orthanc}/tools/find", json=query).json()
            content = place.ask("GET", f"{orthanc}/instances/{instance}/file").content
            return pydicom.dcmread(pydicom.filebase.DicomBytesIO(content))
        time.sleep(0.5)
    pytest.fail("no SEG came to Orthanc")


def test_all_phases_show_the_lesion_side_by_side(reader: Reader) -> None:
    reader.open(1)
    reader.show(1)
    reader.do("analyse")

    reader.do("several")

    reader.drawn(4)
    assert [reader.sees(reader.place.lesions_lps[1], ORANGE, viewport) for viewport in range(4)] == [True] * 4
    reader.photograph("all-phases")


def test_clicks_change_the_mask(reader: Reader) -> None:
    reader.open(1)
    reader.show(1)
    reader.do("analyse")
    before = reader.painted()
    if not reader.page.locator('[data-action="click-background"]').is_visible():
        pytest.skip("this server has no model that follows clicks")

    reader.page.click('[data-action="click-background"]')
    reader.page.mouse.click(*reader.spot(reader.place.lesions_lps[1]))
    reader.settle()

    assert reader.says("error") == ""
    assert reader.painted() != before


def test_what_goes_wrong_is_said_in_words(reader: Reader) -> None:
    reader.open(1)
    reader.page.route("**/infer/**", lambda route: route.fulfill(status=503, json={"detail": "too many wait already"}))
    reader.do("analyse")
    assert reader.says("error") == "too many wait already"

    reader.page.unroute("**/infer/**")
    reader.page.route("**/infer/**", lambda route: route.abort())
    reader.do("analyse")
    assert "does not answer" in reader.says("error")

    reader.page.unroute("**/infer/**")
    reader.page.route("**/infer/**", lambda route: route.fulfill(status=500, body="<html>Traceback</html>"))
    reader.do("analyse")
    assert "Traceback" not in reader.says("error")


def test_masks_keep_their_voxels_on_their_way_through_the_viewer(reader: Reader) -> None:
    """The modules themselves: NRRD there and back, the same grid, a shifted and a reversed one."""
    reader.page.goto(f"{reader.place.address}/viewer/")

    found = reader.page.evaluate(
        """async () => {
            const { readNrrd, writeNrrd } = await import('/viewer/mtinet/nrrd.js');
            const { gridOf, resampled } = await import('/viewer/mtinet/grid.js');
            const shape = [5, 4, 3];
            const affine = [[1.5, 0.1, 0.2, -10], [-0.1, 2, 0.3, 20], [0.2, -0.3, 4, 30]];
            const data = Uint8Array.from({ length: 60 }, (_, n) => n % 3);
            const mask = { grid: { shape, affine }, data };
            const back = await readNrrd(await (await writeNrrd(mask)).arrayBuffer());
            const reversed = { shape, affine: affine.map(([a, b, c, d]) => [a, b, -c, d + 2 * c]) };
            const twice = resampled(resampled(mask, reversed), mask.grid);
            const flipped = resampled(mask, reversed).data;
            const smaller = { shape: [3, 4, 3], affine: affine.map(([a, b, c, d]) => [a, b, c, d + a]) };
            const plane = z => ({ rowCosines: [1, 0, 0], columnCosines: [0, 1, 0], rows: 4, columns: 5,
                columnPixelSpacing: 1, rowPixelSpacing: 2, imagePositionPatient: [7, 8, z] });
            const { phasesOf } = await import('/viewer/mtinet/phases.js');
            const images = [[6, 2], [0, 1], [6, 1], [0, 10]].map(([z, time]) => ({ ImagePositionPatient: [7, 8, z],
                ImageOrientationPatient: [1, 0, 0, 0, 1, 0], TemporalPositionIdentifier: time }));
            const times = instances => phasesOf(instances).map(some => some.map(x => x.TemporalPositionIdentifier));
            const repeated = gridOf([plane(6), plane(0), plane(3), plane(0), plane(3), plane(6)]);
            return {
                same: back.data.every((v, n) => v === data[n]),
                grid: JSON.stringify(back.grid) === JSON.stringify(mask.grid),
                twice: twice.data.every((v, n) => v === data[n]),
                flipped: flipped.every((v, n) => v === data[(n % 20) + 20 * (2 - Math.floor(n / 20))]),
                smaller: Array.from(resampled(mask, smaller).data.slice(0, 3)),
                phases: times(images), whole: times(images.slice(1)),
                sliceOf: repeated.sliceOf, slices: repeated.grid.shape,
            };
        }"""
    )

    assert found == {
        "same": True,
        "grid": True,
        "twice": True,
        "flipped": True,
        "smaller": [1, 2, 0],
        "phases": [[1, 1], [2, 10]],
        "whole": [[1, 1, 10]],
        "sliceOf": [2, 0, 1, 0, 1, 2],
        "slices": [5, 4, 3],
    }


def test_the_ohif_in_the_wheel_draws_the_lesion(reader: Reader) -> None:
    page, place = reader.page, reader.place
    page.goto(f"{place.address}/ohif/monai-label?StudyInstanceUIDs={place.uids[1]}")
    page.wait_for_selector("canvas.cornerstone-canvas, canvas")
    page.wait_for_timeout(5000)
    confirm = page.get_by_text("Confirm and Hide")
    if confirm.is_visible():
        confirm.click()
    page.fill("input.actionInput", f"{place.address}/")
    page.locator("xpath=//input[contains(@class, 'actionInput')]/following::button[1]").click()
    page.get_by_text("Auto-Segmentation").click()
    page.wait_for_timeout(3000)
    before = decode(page.screenshot())
    page.get_by_role("button", name="Run").first.click()

    give_up = time.monotonic() + 180
    while time.monotonic() < give_up:
        page.wait_for_timeout(3000)
        after = decode(page.screenshot())
        chroma = (after.max(axis=2) - after.min(axis=2)) - (before.max(axis=2) - before.min(axis=2))
        if (chroma[150:, 300:1200] > 40).sum() > 200:
            break
    reader.photograph("ohif-of-the-wheel")
    assert (chroma[150:, 300:1200] > 40).sum() > 200


def test_an_update_without_enough_labels_says_what_it_needs(reader: Reader) -> None:
    reader.open(1)

    reader.do("train")

    reader.page.wait_for_function(
        """() => document.querySelector('[data-part="training"]').textContent.includes('labelled')"""
    )
    assert "it takes two" in reader.says("training")
    assert reader.page.locator('[data-action="train"]').is_enabled()


def test_phases_inside_one_series_are_shown_as_series_of_their_own(reader: Reader) -> None:
    """After this one there are labels enough for a training to begin."""
    place, study = reader.place, phantom(3)
    uid = load_as_one_series(place, study)
    reader.place = replace(place, uids=(*place.uids, uid), lesions_lps=(*place.lesions_lps, largest_lesion_lps(study)))
    reader.open(2)
    names = reader.page.evaluate(
        "() => window.services.displaySetService.getActiveDisplaySets().map(each => each.SeriesDescription)"
    )
    assert sorted(names) == [f"t1_vibe_dynamic {n} of 4" for n in range(1, 5)]

    reader.do("analyse")
    assert reader.says("error") == ""
    reader.do("several")
    reader.drawn(4)
    assert [reader.sees(reader.place.lesions_lps[2], ORANGE, viewport) for viewport in range(4)] == [True] * 4

    reader.do("submit")
    assert reader.says("error") == ""
    assert counts_in_nrrd(reader.place, 2) == {int(value): count for value, count in reader.painted().items()}


def test_an_update_shows_how_far_it_is_and_can_be_stopped(reader: Reader) -> None:
    for number in (0, 1):
        reader.open(number)
        reader.do("analyse")
        reader.do("submit")

    reader.page.click('[data-action="train"]')
    reader.page.wait_for_function(f"() => /Epoch [1-9].* of 60, loss/.test({TRAINING_TEXT})")
    assert reader.page.locator('[data-action="train"]').is_disabled()
    assert 0 < float(reader.page.locator("progress").get_attribute("value")) < 1
    reader.photograph("training")

    reader.page.click('[data-action="stop-training"]')
    reader.page.wait_for_function(f"() => {TRAINING_TEXT}.includes('stopped before its end')")
    reader.page.wait_for_selector('[data-action="train"]:not([disabled])')
    assert reader.says("error") == ""
    assert reader.place.ask("GET", "/mtinet/training").json()["state"] == "stopped"


def load_as_one_series(place: Place, study: PhantomStudy) -> str:
    """Put a study into Orthanc whose phases are temporal positions of one series; its StudyInstanceUID."""
    series = None
    for dataset in phantom_dicom.datasets(study, name="one-series"):
        series = series or dataset.SeriesInstanceUID
        dataset.SeriesInstanceUID, dataset.SeriesNumber, dataset.SeriesDescription = series, 7, "t1_vibe_dynamic"
        dataset.TemporalPositionIdentifier, dataset.NumberOfTemporalPositions = dataset.AcquisitionNumber, 4
        dataset.InstanceNumber += (dataset.AcquisitionNumber - 1) * SHAPE[2]
        file = BytesIO()
        dataset.save_as(file, write_like_original=False)
        place.ask("POST", f"{place.pacs.removesuffix('/dicom-web')}/instances", data=file.getvalue()).raise_for_status()
    return str(dataset.StudyInstanceUID)
