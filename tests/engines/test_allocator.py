"""Freed memory stays with the process where the C library is glibc; elsewhere nothing happens."""

import platform
import subprocess
import sys
import types

import pytest

from scripts.engines import allocator

_STEPS = """
import resource
import numpy as np
from scripts.engines.allocator import keep_freed_memory

assert keep_freed_memory()
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(40 * 2**20, np.uint8)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_an_array_finds_the_pages_of_earlier_ones():
    finished = subprocess.run([sys.executable, "-c", _STEPS], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    # Without it there are as many faults as the array has pages, 10,240.
    assert int(finished.stdout) < 1024


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: types.SimpleNamespace())
    assert allocator.keep_freed_memory() is False
