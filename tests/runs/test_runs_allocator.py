"""Large blocks that stay with the process: fewer pages are fetched anew, and results do not change."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from spuraudit.runs.allocator import keep_large_blocks

print(keep_large_blocks() if sys.argv[1] == "keep" else None)
torch.set_num_threads(1)
total = 0.0
for step in range(20):
    if step == 10:  # by then the heap has found its size
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    total += float((torch.ones(20 * 2**20) * 2).sum())
print(total)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(how: str) -> tuple[str, float, int]:
    answer = subprocess.run([sys.executable, "-c", SCRIPT, how], check=True, capture_output=True, text=True)
    told, total, faults = answer.stdout.split()
    return told, float(total), int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_memory_is_used_again() -> None:
    """Ten times two blocks of 80 MiB, 20,480 pages each, unless pages are huge or used again."""
    told, total, faults = run("keep")
    if told == "False":
        pytest.skip("not glibc")
    _, plain_total, plain_faults = run("leave")
    assert total == plain_total
    assert faults < 1000
    assert faults < plain_faults


@pytest.mark.skipif(sys.platform == "linux", reason="for the others")
def test_elsewhere_nothing_is_done() -> None:
    assert run("keep")[0] == "False"
