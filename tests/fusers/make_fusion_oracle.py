"""Records what ranx and qdrant-client give for small ranked lists; run by hand with both installed.

ranx 0.3.21 is the oracle of all methods but dbsf, qdrant-client 1.20.0 that of dbsf. Lists have no ties and
no list of one row, where packages differ by choice. Run it with NUMBA_DISABLE_JIT=1: compiled by numba 0.68
ranx returns row names that are no names, and now and then a wrong score.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

METHODS: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "rrf()": ("rrf", None, {"k": 60}),
    "rrf(offset=1)": ("rrf", None, {"k": 1}),
    "combsum()": ("sum", "min-max", {}),
    "combsum(norm='sum')": ("sum", "sum", {}),
    "combsum(norm='zscore')": ("sum", "zmuv", {}),
    "combsum(norm='rank')": ("sum", "rank", {}),
    "combsum(norm='none')": ("sum", None, {}),
    "combmnz()": ("mnz", "min-max", {}),
    "combmnz(norm='rank')": ("mnz", "rank", {}),
    "combmax()": ("max", "min-max", {}),
    "combmax(norm='zscore')": ("max", "zmuv", {}),
    "combmin()": ("min", "min-max", {}),
    "combmin(norm='rank')": ("min", "rank", {}),
    "combmed()": ("med", "min-max", {}),
    "combanz()": ("anz", "min-max", {}),
    "combanz(norm='rank')": ("anz", "rank", {}),
    "isr()": ("isr", None, {}),
    "log_isr(sigma=0)": ("log_isr", None, {}),
    "log_isr()": ("logn_isr", None, {"sigma": 0.01}),
    "rbc()": ("rbc", None, {"phi": 0.9}),
    "rbc(persistence=0.5)": ("rbc", None, {"phi": 0.5}),
    "borda()": ("bordafuse", None, {}),
    "weighted(weights='0.5 0.3 0.2')": ("wsum", "min-max", {"weights": (0.5, 0.3, 0.2)}),
    "weighted(weights='0.5 0.3 0.2', norm='zscore')": ("wsum", "zmuv", {"weights": (0.5, 0.3, 0.2)}),
}


def lists(seed: int) -> list[list[list[float]]]:
    """Three ranked lists ``[[rows], [scores]]`` that overlap in part."""
    rng = np.random.default_rng(seed)
    out = []
    for size in rng.integers(2, 9, size=3):
        rows = rng.choice(12, size=size, replace=False)
        scores = np.sort(rng.normal(size=size).round(3) * 4 + 10)[::-1]
        out.append([rows.tolist(), scores.tolist()])
    return out


def by_ranx(runs: Any, method: str, norm: str | None, params: dict[str, Any]) -> dict[str, float]:
    """The fused score of each row."""
    from ranx import Run, fuse

    made = [Run({"q": {str(r): float(s) for r, s in zip(*run)}}) for run in runs]
    fused = fuse(made, norm=norm, method=method, params=params or None)
    return dict(fused["q"].items())


def by_qdrant(runs: Any) -> dict[str, float]:
    """The fused score of each row by distribution-based score fusion."""
    from qdrant_client.http.models import ScoredPoint
    from qdrant_client.hybrid.fusion import distribution_based_score_fusion

    made = [[ScoredPoint(id=int(r), version=0, score=s) for r, s in zip(*run)] for run in runs]
    return {str(p.id): p.score for p in distribution_based_score_fusion(made, limit=100)}


def main() -> None:
    """Write the table beside this file."""
    out = []
    for seed in range(6):
        runs = lists(seed)
        fused = {text: by_ranx(runs, *spec) for text, spec in METHODS.items()} | {"dbsf()": by_qdrant(runs)}
        out.append({"runs": runs, "fused": fused})
    lines = ",\n".join(json.dumps(case) for case in out)
    Path(__file__).with_name("fusion_oracle.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
