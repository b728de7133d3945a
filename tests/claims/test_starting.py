"""What starting costs: importing the package, and the first text that the embedded encoder encodes.

Which modules an import loads is asserted by ``tests/meta/test_import.py``; seconds are recorded alone.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable

Record = Callable[[str, str, bool, str], None]
HOUSE = "nearfield"  # what stands in no paper
CPU = "import time, numpy; {before}; start = time.process_time(); {job}; print(time.process_time() - start)"


def seconds(before: str, job: str) -> float:
    """The median processor time of a job in processes of its own."""
    command = [sys.executable, "-c", CPU.format(before=before, job=job)]
    told = (subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(7))
    return statistics.median(map(float, told))


def test_import_adds_little_to_that_of_numpy(record_timing: Record) -> None:
    took = seconds("pass", "import nearfield")
    record_timing(HOUSE, "importing adds at most 0.05 s of the processor to NumPy's", took <= 0.05, f"{took:.3f} s")


def test_the_embedded_encoder_is_there_at_once(record_timing: Record) -> None:
    took = seconds("from nearfield.encoders.static import Static", "Static().encode(['warm socks'])")
    record_timing(HOUSE, "the first text is encoded within 0.1 s of the processor", took <= 0.1, f"{took:.3f} s")
