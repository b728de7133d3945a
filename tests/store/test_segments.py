"""Segment files: what is read is checked, each MiB once, and nothing else is."""

import numpy as np
import pytest

from nearfield.core.errors import Corrupt
from nearfield.store.segments import CHUNK, Segment, SegmentWriter


@pytest.mark.parametrize("width", [1536, CHUNK, 3 * CHUNK])
@pytest.mark.parametrize("damaged", ["first", "last"])
def test_rows_are_checked_to_their_last_byte(tmp_path, width, damaged):
    """A row that lies across two checksums, or more, is damaged where any of them fails."""
    n = max(4, 3 * CHUNK // width)
    row = CHUNK // width if width < CHUNK else 1  # the one across the first border
    path = tmp_path / "x.nf"
    with SegmentWriter(path, "part") as out:
        out.add("v", np.zeros((n, width), np.uint8))
        out.finish({})
    start = Segment(path, "part")._place("v")[2]
    with open(path, "r+b") as file:
        file.seek(start + row * width + (0 if damaged == "first" else width - 1))
        file.write(b"\1")
    segment = Segment(path, "part")
    segment.column("v", verify=False)
    segment.touch_rows("v", np.array([], np.int64), width)
    if width == 1536:
        segment.touch_rows("v", np.array([n - 1]), width)  # another MiB
    with pytest.raises(Corrupt, match="checksum mismatch"):
        segment.touch_rows("v", np.array([row]), width)
