"""The audit of an index: recall by the order of insertion and by the local dimension around the queries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.cli import main
from nearfield.core.errors import BadInput

PLAN = "float16() | vamana(degree=4, width=8)"


def mixed(n: int = 1200) -> Any:
    """Half of the rows fill 2 dimensions, half 20."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 20)).astype(np.float32)
    x[: n // 2, 2:] *= 0.01
    x[n // 2 :] += 8
    return x


def test_recall_by_order_and_by_dimension() -> None:
    found = nf.audit(mixed(), PLAN, metric="l2", budget=40)
    assert [line.order for line in found.lines] == ["given", "shuffled", "lid up", "lid down"]
    assert found.edges == sorted(found.edges)
    assert found.edges[0] < 4 < found.edges[2]
    for line in found.lines:
        assert len(line.quarters) == 4
        assert np.mean([q.value for q in line.quarters]) == pytest.approx(line.recall.value, abs=0.02)
        assert line.quarters[0].value > line.quarters[3].value + 0.05  # where many rows lie as near, fewer are found
    assert 0 <= found.spread <= 1
    assert str(found).count("\n") == 6
    assert json.loads(json.dumps(found.to_dict()))["spread"] == found.spread
    assert nf.audit(mixed(), PLAN, metric="l2", budget=40) == found


def test_a_scan_minds_no_order() -> None:
    found = nf.audit(mixed(), "raw()", orders=("given", "shuffled", "lid down"))
    assert found.spread == 0
    assert found.lines[0].recall.value > 0.999


def test_odd_wishes_are_refused() -> None:
    with pytest.raises(BadInput, match="orders: expected some of given"):
        nf.audit(mixed(), PLAN, orders=["sorted"])
    with pytest.raises(BadInput, match="at least 50 rows"):
        nf.audit(mixed(30), PLAN)
    with pytest.raises(BadInput, match="metric"):
        nf.audit(mixed(), PLAN, metric="hamming")
    with pytest.raises(BadInput, match="quarters"):
        nf.audit(mixed(), PLAN, mixed(4))


def test_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", mixed())
    file = str(tmp_path / "x.npy")
    with pytest.raises(SystemExit) as left:
        main(["inspect", file, "--json"])
    assert left.value.code == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [t["name"] for t in told] == ["lid", "twonn"]
    with pytest.raises(SystemExit) as left:
        main(["audit", file, "--plan", PLAN, "--order", "given", "--budget", "50"])
    assert left.value.code == 0
    assert "recall@10" in capsys.readouterr().out
