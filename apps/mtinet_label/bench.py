"""Measures the server under load: prints one JSON line a measurement, as ``make bench`` does.

python apps/mtinet_label/bench.py [--clients 8] [--studies 4]

The server runs as it does for a user, with its guard, in a process of its own, on a fresh phantom cohort; the bundle
analyses the same studies here, before it. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from monai.bundle import ConfigParser
from monailabel.client import MONAILabelClient

from scripts.engines.weights import load_network
from scripts.engines.workflows import CONFIGS
from scripts.phantom.cohort import SHAPE, write_cohort

APP = Path(__file__).resolve().parent
MEMORY_LIMIT_MB = 4096
_SEED = 23
_STARTS_WITHIN_S = 240.0


@dataclass(frozen=True)
class Load:
    """How to measure.

    Args:
        work_dir: of phantom, state and log.
        studies: that one client asks for, one after the other; the median counts.
        clients: that ask at once, each for a study of its own.
        shape: voxels of a study.
    """

    work_dir: Path
    studies: int = 4
    clients: int = 8
    shape: tuple[int, int, int] = SHAPE

    @property
    def dataset_dir(self) -> Path:
        """One study to warm up with, then the others."""
        folder = self.work_dir / "phantom"
        if not folder.exists():
            total = 1 + self.studies + self.clients
            write_cohort(total, _SEED, folder, split_sizes=[0, 0, total], shape=self.shape)
        return folder


def measurements(load: Load) -> Iterator[dict[str, str | float]]:
    """Measure bundle, server, cache, many clients and memory.

    Yields:
        ``{"name", "value", "unit"}``.
    """
    lesions, bundle_s = bundle_answers(load)
    warm_up, *cases = sorted(lesions)
    alone, together = cases[: load.studies], cases[load.studies :]
    with running_server(load.dataset_dir, load.work_dir) as (address, process):
        client = MONAILabelClient(address)
        infer(client, warm_up)
        server_s = [timed(lambda case=case: infer(client, case))[0] for case in alone]
        again_s = [timed(lambda case=case: infer(client, case))[0] for case in alone]
        spent_s, answers = timed(lambda: at_once(address, together))
        peak_mb = peak_rss_mb(process.pid)
    wrong = sum(answer.get("lesions") != lesions[case] for case, answer in zip(together, answers, strict=True))
    excess_s = median(server_s) - 1.2 * median(bundle_s[case] for case in alone)
    yield from (
        {"name": name, "value": float(f"{value:.4g}"), "unit": unit}
        for name, value, unit in (
            ("bundle_study_s", median(bundle_s[case] for case in alone), "s"),
            ("server_study_s", median(server_s), "s"),
            # At most 1: the target is 1.2 times the bundle's time and 1 s.
            ("server_excess_s", excess_s, "s"),
            ("server_cached_s", max(again_s), "s"),
            ("clients_at_once", load.clients, "clients"),
            ("clients_all_answered_s", spent_s, "s"),
            ("clients_wrong_answers", wrong, "answers"),
            ("server_peak_rss_mb", peak_mb, "MiB"),
        )
    )


def bundle_answers(load: Load) -> tuple[dict[str, list[dict]], dict[str, float]]:
    """Lesions and seconds of each study by the bundle's own ``inferring``, without pictures, once it is warm."""
    parser = ConfigParser()
    parser.read_config(CONFIGS / "inference.yaml")
    parser.update(
        {
            "dataset_dir": str(load.dataset_dir),
            "output_dir": str(load.work_dir / "bundle"),
            "device": "$torch.device('cpu')",
            "figures": False,
            "handlers": ["@writer"],
        }
    )
    evaluator = parser.get_parsed_content("evaluator")
    load_network(evaluator.network, parser.get_parsed_content("ckpt_path"))
    evaluator.inferer.prepare(evaluator.network)
    cases = evaluator.data_loader.dataset.data[:]
    # One study at a time; the evaluator would go round for as many as it was made with.
    evaluator.state.epoch_length = 1
    lesions, seconds = {}, {}
    for case in cases:
        evaluator.data_loader.dataset.data = [case]
        seconds[case.case], _ = timed(evaluator.run)
        lesions[case.case] = evaluator.state.output.result.to_dict()["lesions"]
    return lesions, seconds


@contextlib.contextmanager
def running_server(studies: Path, work_dir: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """``monailabel start_server`` on a free port of loopback, until the block ends.

    Args:
        studies: folder that is served.
        work_dir: of the server's state and its log.

    Yields:
        The address, and the process.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(APP)]
    command += ["--studies", str(studies), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--conf", "state", str(work_dir / "state")]
    # MONAI Label looks for dcmqi's programs on PATH.
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    address, log = f"http://127.0.0.1:{port}", work_dir / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env)
    try:
        wait_until_it_answers(f"{address}/mtinet/queue", process, log)
        yield address, process
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_until_it_answers(address: str, process: subprocess.Popen, log: Path) -> None:
    """Until an address answers.

    Raises:
        SystemExit: it does not, with the end of the server's log.
    """
    # Loopback is asked directly, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    give_up = time.monotonic() + _STARTS_WITHIN_S
    while process.poll() is None and time.monotonic() < give_up:
        with contextlib.suppress(OSError):
            opener.open(address, timeout=5).close()
            return
        time.sleep(0.5)
    raise SystemExit(f"error: the server does not answer:\n{log.read_text()[-2000:]}")


def infer(client: MONAILabelClient, case: str) -> dict[str, Any]:
    """The facts beside the mask, as a viewer asks for both; the mask's file is removed."""
    file, params = client.infer("mtinet", case, {"result_extension": ".nrrd"})
    Path(file).unlink()
    return params


def at_once(address: str, cases: Sequence[str]) -> list[dict[str, Any]]:
    """The answers to as many clients, each with a study of its own; ``{}`` where one got none."""

    def ask(case: str) -> dict[str, Any]:
        try:
            return infer(MONAILabelClient(address), case)
        except Exception as error:  # the client raises its own kind for every answer that is none
            print(f"{case}: {getattr(error, 'msg', error)}", file=sys.stderr)
            return {}

    with ThreadPoolExecutor(len(cases)) as pool:
        return list(pool.map(ask, cases))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that work took, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def peak_rss_mb(process_id: int) -> float:
    """Largest resident memory of a process so far, MiB; Linux only."""
    status = Path(f"/proc/{process_id}/status").read_text()
    peak_kb = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak_kb) / 1024.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure in a temporary folder, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8, help="that ask at once")
    parser.add_argument("--studies", type=int, default=4, help="that one client asks for; the median counts")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-label-") as work_dir:
        for measurement in measurements(Load(Path(work_dir), studies=given.studies, clients=given.clients)):
            print(json.dumps(measurement), flush=True)


if __name__ == "__main__":
    main()
