"""Starts the server on phantom studies: ``make serve`` (a folder) and ``make serve-dicom`` (Orthanc and OHIF).

``python apps/mtinet_label/serve.py [--dicom] [--port 8000]``; Ctrl-C ends everything that it started.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from urllib.parse import urlencode

APP = Path(__file__).resolve().parent
sys.path.insert(0, str(APP))

from lib.demonstration import phantom_dicom  # noqa: E402
from lib.demonstration.orthanc import Orthanc  # noqa: E402
from lib.demonstration.processes import Background, DemonstrationError, require_free  # noqa: E402
from lib.ohif import BASE, OhifPackage  # noqa: E402
from lib.settings import STATE_ROOT, Settings  # noqa: E402
from scripts.domain.errors import MTINetError  # noqa: E402
from scripts.phantom.cohort import write_cohort  # noqa: E402
from scripts.phantom.subject import VERSION  # noqa: E402

# Training and the demo use other seeds.
SEED = 77
STUDIES = 6
_STARTS_WITHIN_S = 180.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Start everything, say where it is, and wait for Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dicom", action="store_true", help="Orthanc and OHIF, instead of a folder of NIfTI files")
    parser.add_argument("--port", type=int, default=8000, help="of the server")
    parser.add_argument("--folder", type=Path, default=STATE_ROOT / "demonstration", help="of everything it writes")
    parser.add_argument("--studies", type=int, default=STUDIES, help="in the folder of NIfTI files")
    parser.add_argument("--conf", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"), help="see README")
    given = parser.parse_args(arguments)
    # A shell that starts it in the background has it ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    try:
        require_free(given.port)
        with ExitStack() as started:
            if given.dicom:
                serve_dicom(started, given.folder, given.port, given.conf)
            else:
                serve_folder(started, given.folder, given.port, given.conf, number=given.studies)
    except MTINetError as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        print("\nstopped")


def serve_folder(
    started: ExitStack, folder: Path, port: int, conf: Sequence[Sequence[str]], *, number: int = STUDIES
) -> None:
    """The server on a folder of phantom studies."""
    studies = folder / f"phantom-{VERSION}-seed{SEED}-{number}"
    if not (studies / "subjects.csv").exists():
        print(f"making {number} phantom studies, once", flush=True)
        write_cohort(number, SEED, studies)
    if not any(key == "count_dataset_labels" for key, _ in conf):
        # The phantom's own masks would leave nothing to annotate.
        conf = [*conf, ("count_dataset_labels", "false")]
    server = start_server(started, str(studies), port, conf, log=folder / "server.log")
    address = f"http://127.0.0.1:{port}"
    case = sorted(file.name.removesuffix("_0000.nii.gz") for file in studies.glob("images*/*_0000.nii.gz"))[0]
    say(
        f"The server is at {address}",
        f"A result as a page:  {address}/mtinet/studies/{case}/page",
        f"3D Slicer:           MONAI Label module, server {address}",
        f"REST:                {address}/docs",
    )
    wait(server)


def serve_dicom(started: ExitStack, folder: Path, port: int, conf: Sequence[Sequence[str]]) -> None:
    """Orthanc with two phantom studies, the server on it, and OHIF."""
    settings = Settings.of(dict(conf), "")
    if not OhifPackage(Path(settings.ohif)).installed:
        msg = "the OHIF viewer is not unpacked: run `make ohif` first (npm is needed once, for the download)"
        raise DemonstrationError(msg)
    orthanc = started.enter_context(Orthanc(folder / "orthanc"))
    files = folder / f"dicom-{VERSION}-seed{SEED}"
    if not files.exists():
        print("making two phantom studies, once", flush=True)
        phantom_dicom.write_studies(files, seed=SEED)
    orthanc.wait()
    orthanc.load(sorted(files.rglob("*.dcm")))
    server = start_server(started, orthanc.dicom_web, port, conf, log=folder / "server.log")
    address = f"http://127.0.0.1:{port}"
    links = [f"{address}{BASE}annotate?{urlencode({'StudyInstanceUIDs': uid})}" for uid in orthanc.studies()]
    say(
        f"The server is at {address}, its PACS at {orthanc.address}",
        f"List of studies:  {address}{BASE}",
        *(f"Open a study:     {link}" for link in links),
    )
    wait(server, orthanc)


def start_server(
    started: ExitStack, studies: str, port: int, conf: Sequence[Sequence[str]], *, log: Path
) -> Background:
    """``monailabel start_server`` on loopback, when it answers.

    Raises:
        DemonstrationError: it does not.
    """
    print("starting the server", flush=True)
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(APP), "--studies", studies]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    if not any(key == "state" for key, _ in conf):
        # A PACS of the demonstration has another address at every start; its labels stay the same.
        command += ["--conf", "state", str(log.parent / ("state-dicom" if "://" in studies else "state-folder"))]
    command += [word for key, value in conf for word in ("--conf", key, value)]
    # MONAI Label looks for dcmqi's programs on PATH, and downloads them otherwise.
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    env.setdefault("MONAI_LABEL_RELOAD_APP_LIB", "false")
    server = started.enter_context(Background("The server", command, log=log, env=env))
    server.wait_for(f"http://127.0.0.1:{port}/info/", seconds=_STARTS_WITHIN_S)
    return server


def say(*lines: str) -> None:
    """Print lines, and how to end."""
    print("", *lines, "Ctrl-C ends it.", sep="\n", flush=True)


def wait(*processes: Background) -> None:
    """Wait until Ctrl-C.

    Raises:
        DemonstrationError: a process ended by itself.
    """
    while True:
        for process in processes:
            if not process.running:
                msg = f"{process.name} ended. The end of what it printed:\n{process.printed}"
                raise DemonstrationError(msg)
        time.sleep(1)


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
