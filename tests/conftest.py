"""A tiny dataset built by hand: asymmetric anatomy of 96 x 80 x 20, oblique, four phases, labels, subjects.csv."""

from __future__ import annotations

import csv
import ctypes
import gc
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import psutil
import pytest
from scipy.spatial.transform import Rotation

LIBC = ctypes.CDLL(None)

SHAPE = (96, 80, 20)
SPACING_MM = (3.0, 2.5, 6.0)

# Tissue: signal before contrast, arterial, portal-venous, delayed.
SIGNALS = {
    "body": (150, 160, 165, 160),
    "liver": (200, 230, 300, 270),
    "vessel": (120, 700, 500, 380),
    "hcc": (170, 400, 260, 230),
    "hemangioma": (130, 280, 320, 400),
}
TIME_COLUMNS = ("t_pre", "t_arterial", "t_portal_venous", "t_delayed")
LABEL_VALUES = {"none": 0, "hemangioma": 1, "hcc": 2}

# case, class, split, fold, site
SUBJECTS = (
    ("liver-01", "hcc", "train", 0, "north"),
    ("liver-02", "hemangioma", "train", 1, "south"),
    ("liver-03", "hcc", "val", 2, "north"),
    ("liver-04", "none", "val", 3, "south"),
    ("liver-05", "hemangioma", "test", None, "north"),
)


def _oblique_affine(spacing_mm: tuple[float, float, float] = SPACING_MM) -> np.ndarray:
    """Stored left, posterior, superior, tilted by 12 and 7 degrees."""
    affine = np.eye(4)
    rotation = Rotation.from_euler("xz", [12, 7], degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2]])
    affine[:3, 3] = (130.0, 95.0, -240.0)
    return affine


def _anatomy(tumour_class: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image ``(4, X, Y, Z)`` int16, label and liver ``(X, Y, Z)`` uint8; no symmetry along any axis."""
    rng = np.random.default_rng(seed)
    i, j, k = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    body = ((i - 50) / 40) ** 2 + ((j - 38) / 33) ** 2 <= 1
    liver = ((i - 34) / 18) ** 2 + ((j - 36) / 16) ** 2 + ((k - 11) / 7) ** 2 <= 1
    vessel = (i - 54) ** 2 + (j - 58) ** 2 <= 12
    centre = np.array((30, 32, 12)) + rng.integers(-2, 3, size=3)
    lesion = ((i - centre[0]) / 5) ** 2 + ((j - centre[1]) / 4) ** 2 + ((k - centre[2]) / 2) ** 2 <= 1
    if tumour_class == "none":
        lesion = np.zeros_like(lesion)
    image = np.zeros((4, *SHAPE))
    for tissue, name in ((body, "body"), (liver, "liver"), (vessel, "vessel"), (lesion, tumour_class)):
        if tissue.any() and name in SIGNALS:
            image[:, tissue] = np.array(SIGNALS[name])[:, None]
    image = np.hypot(image + rng.normal(0, 6, image.shape), rng.normal(0, 6, image.shape))
    return image.astype(np.int16), (lesion * LABEL_VALUES[tumour_class]).astype(np.uint8), liver.astype(np.uint8)


def _load_package(folder: Path) -> ModuleType:
    """Import a package of test helpers by its folder: nothing under tests/ is on the path."""
    spec = importlib.util.spec_from_file_location(
        folder.name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = sys.modules[folder.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes by their number: packed ones hold the time, and all workers must find the same names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.fixture
def is_alive() -> Callable[[int], bool]:
    """Whether a process of that number runs; a zombie does not, nor one that goes while it is looked at."""

    def look(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return look


@pytest.fixture(scope="module", autouse=True)
def _freed_memory_goes_back() -> Iterator[None]:
    """A training keeps what it frees for its next step; a worker of hundreds of tests would hold gigabytes."""
    yield
    gc.collect()
    if hasattr(LIBC, "malloc_trim"):  # glibc's
        LIBC.malloc_trim(0)


@pytest.fixture(scope="session")
def dicom_phantom() -> ModuleType:
    """The package that writes the phantom as DICOM studies: ``tests/studies/dicom/dicom_phantom``."""
    return _load_package(Path(__file__).parent / "studies" / "dicom" / "dicom_phantom")


@pytest.fixture(scope="session")
def oblique_affine() -> np.ndarray:
    """``(4, 4)`` of the dataset's files: left, posterior, superior, tilted by 12 and 7 degrees."""
    return _oblique_affine()


@pytest.fixture(scope="session")
def _dataset_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "Dataset001_Tiny"
    for folder in ("imagesTr", "labelsTr", "imagesTs", "labelsTs", "liver"):
        (root / folder).mkdir(parents=True)
    rows = []
    for seed, (case, tumour_class, split, fold, site) in enumerate(SUBJECTS):
        image, label, liver = _anatomy(tumour_class, seed)
        ending = "Ts" if split == "test" else "Tr"
        for phase, volume in enumerate(image):
            nib.save(
                nib.Nifti1Image(volume, _oblique_affine()), root / f"images{ending}" / f"{case}_{phase:04d}.nii.gz"
            )
        nib.save(nib.Nifti1Image(label, _oblique_affine()), root / f"labels{ending}" / f"{case}.nii.gz")
        nib.save(nib.Nifti1Image(liver, _oblique_affine()), root / "liver" / f"{case}.nii.gz")
        rows.append((case, tumour_class, split, "" if fold is None else fold, site, 0, 25 + seed, 70, 180))
    with (root / "subjects.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "class", "split", "fold", "site", *TIME_COLUMNS])
        writer.writerows(rows)
    return root


@pytest.fixture
def dataset_dir(_dataset_template: Path, tmp_path: Path) -> Path:
    """A fresh copy of the tiny dataset, to be read or broken.

    ``liver-01`` hcc train, ``-02`` hemangioma train, ``-03`` hcc val, ``-04`` none val, ``-05`` hemangioma test;
    arterial times 25, 26 ... s.
    """
    return Path(shutil.copytree(_dataset_template, tmp_path / _dataset_template.name))


def _missing_tool(reason: str) -> None:
    """Skip, or fail where the machine is meant to have every DICOM tool (``MTINET_REQUIRE_DICOM_TOOLS=1``)."""
    if os.environ.get("MTINET_REQUIRE_DICOM_TOOLS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def dicom_tool() -> Callable[[str], str]:
    """Path of a DICOM program, from this environment (dcmqi's) or the system (``apt-get install dicom3tools``)."""

    def find(name: str) -> str:
        found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
        return found or _missing_tool(f"{name} is not installed (pip install dcmqi; apt-get install dicom3tools)")

    return find


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[str]:
    """An empty Orthanc of one's own on loopback: the URL of its DICOMweb root."""
    program = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    plugin = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    if program is None or not plugin.exists():
        _missing_tool("Orthanc with DICOMweb is not installed (apt-get install orthanc orthanc-dicomweb)")
    folder = tmp_path / "orthanc"
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    log = folder / "log.txt"
    with log.open("w") as output:
        server = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}/system", server, log)
        yield f"http://127.0.0.1:{port}/dicom-web"
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_until_it_answers(url: str, server: subprocess.Popen, log: Path, *, seconds: float = 60.0) -> None:
    # Loopback is asked directly, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up and server.poll() is None:
        try:
            opener.open(url, timeout=5).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"Orthanc does not answer:\n{log.read_text()[-2000:]}")
