"""Freed memory stays with the process, so that the next step finds its pages there."""

import subprocess
import sys

import pytest

_FAULTS_OF_A_LATER_ALLOCATION = """
import resource, sys
import torch
from scripts.engines.allocator import keep_freed_memory

if not keep_freed_memory():
    sys.exit("not glibc")
tensor = torch.ones(64 * 2**20 // 4)
for _ in range(8):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensor + 1
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


def _faults() -> int:
    command = [sys.executable, "-c", _FAULTS_OF_A_LATER_ALLOCATION]
    finished = subprocess.run(command, capture_output=True, text=True)
    if "not glibc" in finished.stderr:
        pytest.skip("the C library is not glibc")
    assert finished.returncode == 0, finished.stderr
    return int(finished.stdout)


def test_a_tensor_finds_the_pages_of_earlier_ones():
    # Without it there are as many faults as the tensor has pages, 16,384.
    assert _faults() < 160
