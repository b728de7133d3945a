"""Takes what claims tests measured into the package: python scripts/record_claims.py claims.jsonl [--add]

With ``--add`` the figures of tests that were not run stay.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "src/nearfield/data/claims.json"


def main(source: str, add: bool = False) -> None:
    """Write the figures that ``nearfield papers`` shows, one for each claim, in a fixed order."""
    rows = [json.loads(line) for line in Path(source).read_text(encoding="utf-8").splitlines()]
    if add:
        run = {r["test"] for r in rows}
        rows += [r for r in json.loads(TARGET.read_text(encoding="utf-8")) if r["test"] not in run]
    unique = {(r["id"], r["test"], r["claim"]): r for r in rows}
    kept = [unique[key] for key in sorted(unique)]
    TARGET.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(kept)} claims, {sum(r['status'] == 'held' for r in kept)} held")


if __name__ == "__main__":
    main(sys.argv[1], "--add" in sys.argv[2:])
