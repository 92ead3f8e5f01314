"""`python -m scripts.bench`: measure speed and memory, print one JSON line a measurement."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from . import inference, memory, step, study, training
from .conditions import Conditions

BENCHMARKS = (inference, study, training, step, memory)
NAMES = tuple(name for benchmark in BENCHMARKS for name in benchmark.UNITS)


def measurements(names: Sequence[str], conditions: Conditions) -> Iterator[dict[str, str | float]]:
    """Measure what is asked for, what belongs together at once.

    Args:
        names: some of ``NAMES``.
        conditions: how.

    Yields:
        ``{"name", "value", "unit"}``; nothing for what this machine has not installed.
    """
    chosen = [benchmark for benchmark in BENCHMARKS if set(names) & set(benchmark.UNITS)]
    for benchmark in tqdm(chosen, desc="bench", unit="benchmark"):
        # Standard output is for the measurements alone.
        with contextlib.redirect_stdout(sys.stderr):
            values = benchmark.measure(conditions)
        for name, value in values.items():
            if name in names:
                yield {"name": name, "value": float(f"{value:.4g}"), "unit": benchmark.UNITS[name]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure in a temporary folder, print."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-") as work_dir:
        conditions = Conditions(Path(work_dir), runs=options.runs)
        for measurement in measurements(options.only, conditions):
            print(json.dumps(measurement), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench",
        description="Measure speed and memory on this machine's CPU, one JSON line a measurement on standard output. "
        "Values are medians after a warm-up; things that are compared take turns in one process. The networks have "
        "random weights. Let nothing else run meanwhile; OMP_NUM_THREADS sets the threads.",
        epilog="measurements:\n" + "\n".join(_described()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help="measure only these")
    parser.add_argument("--runs", type=_positive, default=5, help="runs of which the median is taken (default: 5)")
    return parser


def _described() -> Iterator[str]:
    for benchmark in BENCHMARKS:
        yield f"  {benchmark.__doc__}"
        yield from (f"    {name} [{unit}]" for name, unit in benchmark.UNITS.items())


def _positive(text: str) -> int:
    runs = int(text)
    if runs < 1:
        msg = f"{runs} is not at least 1"
        raise argparse.ArgumentTypeError(msg)
    return runs


if __name__ == "__main__":
    main()
