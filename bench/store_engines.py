"""One engine of the ``store`` suite in its own process: commands come on stdin, answers go to stdout, as JSON lines.

Run by the interpreter of the environment in which the engine is installed, so that engines whose requirements
exclude one another are compared in one run. It needs nothing but numpy and the engine:

    python bench/store_engines.py ENGINE DATA

DATA holds ``rows.npy`` (float32 ``[n, d]``), ``queries.npy`` and ``meta.json`` (a list of dictionaries). Every engine
is used as its documentation says for a small local collection, by cosine, with the index that it makes by itself.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

STARTED = time.time()
NAME = "rows"


class Nearfield:
    """Exact search of float32 rows."""

    durability = "full"

    def open(self, folder: str, d: int) -> None:
        import nearfield

        self.c = nearfield.open(f"{folder}/{NAME}", dim=d, metric="cosine", durability=self.durability)

    def insert(self, ids: list[int], x: Any, meta: list[dict[str, Any]]) -> None:
        self.c.add(ids, x, meta=meta)

    def search(self, q: Any, k: int, where: list[Any] | None) -> list[int]:
        return self.c.search(q, k=k, where=None if where is None else {where[0]: where[1]}).ids

    def close(self) -> None:
        self.c.close()


class NearfieldRelaxed(Nearfield):
    """The same; a commit may be lost with the power, never torn."""

    durability = "relaxed"


class LanceDB:
    """No index: exact."""

    def open(self, folder: str, d: int) -> None:
        import lancedb

        self.db = lancedb.connect(folder)
        self.table = self.db.open_table(NAME) if NAME in list(self.db.list_tables().tables) else None

    def insert(self, ids: list[int], x: Any, meta: list[dict[str, Any]]) -> None:
        import pyarrow as pa

        vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])
        rows = {"id": pa.array(ids), "vector": vectors}
        rows |= {key: pa.array([m[key] for m in meta]) for key in meta[0]}
        if self.table is None:
            self.table = self.db.create_table(NAME, pa.table(rows))
        else:
            self.table.add(pa.table(rows))

    def search(self, q: Any, k: int, where: list[Any] | None) -> list[int]:
        ask = self.table.search(q).distance_type("cosine").select(["id"]).limit(k)
        if where is not None:
            ask = ask.where(f"{where[0]} = {where[1]!r}", prefilter=True)
        return ask.to_arrow()["id"].to_pylist()

    def close(self) -> None:
        self.table = self.db = None


class Chroma:
    """HNSW, as it is made by default."""

    def open(self, folder: str, d: int) -> None:
        import chromadb
        from chromadb.config import Settings

        self.client = chromadb.PersistentClient(folder, settings=Settings(anonymized_telemetry=False))
        how = {"hnsw": {"space": "cosine"}}
        self.c = self.client.get_or_create_collection(NAME, embedding_function=None, configuration=how)

    def insert(self, ids: list[int], x: Any, meta: list[dict[str, Any]]) -> None:
        most = self.client.get_max_batch_size()
        for at in range(0, len(ids), most):
            end = at + most
            self.c.add(ids=[str(i) for i in ids[at:end]], embeddings=x[at:end], metadatas=meta[at:end])

    def search(self, q: Any, k: int, where: list[Any] | None) -> list[int]:
        how = {} if where is None else {"where": {where[0]: where[1]}}
        found = self.c.query(query_embeddings=[q], n_results=k, include=["distances"], **how)
        return [int(i) for i in found["ids"][0]]

    def close(self) -> None:
        self.c = self.client = None


class Qdrant:
    """Its local mode: exact."""

    def open(self, folder: str, d: int) -> None:
        import warnings

        from qdrant_client import QdrantClient, models

        warnings.simplefilter("ignore")  # it says that local mode is meant for fewer rows
        self.models, self.client = models, QdrantClient(path=folder)
        if not self.client.collection_exists(NAME):
            how = models.VectorParams(size=d, distance=models.Distance.COSINE)
            self.client.create_collection(NAME, vectors_config=how)

    def insert(self, ids: list[int], x: Any, meta: list[dict[str, Any]]) -> None:
        self.client.upsert(NAME, self.models.Batch(ids=ids, vectors=x.tolist(), payloads=meta))

    def search(self, q: Any, k: int, where: list[Any] | None) -> list[int]:
        m = self.models
        only = None
        if where is not None:
            only = m.Filter(must=[m.FieldCondition(key=where[0], match=m.MatchValue(value=where[1]))])
        found = self.client.query_points(NAME, query=q, query_filter=only, limit=k, with_payload=False)
        return [int(p.id) for p in found.points]

    def close(self) -> None:
        self.client.close()


class Milvus:
    """Milvus Lite with the index that it makes by itself."""

    def open(self, folder: str, d: int) -> None:
        from pymilvus import MilvusClient

        self.client = MilvusClient(f"{folder}/milvus.db")
        if not self.client.has_collection(NAME):
            self.client.create_collection(NAME, dimension=d, metric_type="COSINE", consistency_level="Strong")
        self.client.load_collection(NAME)

    def insert(self, ids: list[int], x: Any, meta: list[dict[str, Any]]) -> None:
        rows = [{"id": i, "vector": v, **m} for i, v, m in zip(ids, x, meta)]
        self.client.insert(NAME, rows)

    def search(self, q: Any, k: int, where: list[Any] | None) -> list[int]:
        only = "" if where is None else f"{where[0]} == {json.dumps(where[1])}"
        found = self.client.search(NAME, [q], filter=only, limit=k)
        return [int(hit["id"]) for hit in found[0]]

    def close(self) -> None:
        self.client.close()


class SqliteVec:
    """A virtual table with metadata columns: exact. SQLite syncs every commit."""

    def open(self, folder: str, d: int) -> None:
        import sqlite_vec
        from pysqlite3 import dbapi2 as sqlite3  # Python's own may be built without extensions

        self.db = sqlite3.connect(f"{folder}/rows.db")
        self.db.enable_load_extension(True)
        sqlite_vec.load(self.db)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute(
            f"CREATE VIRTUAL TABLE IF NOT EXISTS {NAME} USING vec0(id INTEGER PRIMARY KEY, "
            f"vector FLOAT[{d}] distance_metric=cosine, year INTEGER, num_authors INTEGER, has_doi BOOLEAN, field TEXT)"
        )

    def insert(self, ids: list[int], x: Any, meta: list[dict[str, Any]]) -> None:
        rows = (
            (i, v.tobytes(), m["year"], m["num_authors"], m["has_doi"], m["field"]) for i, v, m in zip(ids, x, meta)
        )
        with self.db:
            self.db.executemany(
                f"INSERT INTO {NAME} (id, vector, year, num_authors, has_doi, field) VALUES (?, ?, ?, ?, ?, ?)", rows
            )

    def search(self, q: Any, k: int, where: list[Any] | None) -> list[int]:
        only, values = ("", []) if where is None else (f"AND {where[0]} = ?", [where[1]])
        sql = f"SELECT id FROM {NAME} WHERE vector MATCH ? AND k = ? {only} ORDER BY distance"
        return [row[0] for row in self.db.execute(sql, [q.tobytes(), k, *values])]

    def close(self) -> None:
        self.db.close()


ENGINES = {
    "nearfield": Nearfield, "nearfield relaxed": NearfieldRelaxed, "lancedb": LanceDB, "chromadb": Chroma,
    "qdrant local": Qdrant, "milvus-lite": Milvus, "sqlite-vec": SqliteVec,
}  # fmt: skip


class Session:
    """Answers commands."""

    def __init__(self, engine: str, data: Path) -> None:
        import numpy as np

        self.np, self.data = np, data
        self.engine: Any = ENGINES[engine]()
        self.rows = np.load(data / "rows.npy", mmap_mode="r")
        self.queries = np.load(data / "queries.npy")

    def open(self, folder: str) -> dict[str, Any]:
        """Open or create."""
        self.engine.open(folder, self.rows.shape[1])
        return {}

    def insert(self, start: int, stop: int, batch: int) -> dict[str, Any]:
        """Insert rows, a batch at a time; arrays and dictionaries are ready before the clock runs."""
        meta = json.loads((self.data / "meta.json").read_text(encoding="utf-8"))
        batches = [
            (list(range(at, min(stop, at + batch))), self.np.array(self.rows[at : min(stop, at + batch)]))
            for at in range(start, stop, batch)
        ]
        begun = time.perf_counter()
        for ids, x in batches:
            self.engine.insert(ids, x, meta[ids[0] : ids[-1] + 1])
        return {"seconds": time.perf_counter() - begun}

    def search(self, start: int, stop: int, k: int, where: list[Any] | None, limit: float) -> dict[str, Any]:
        """Ask one query after another, 20 at least and no more after ``limit`` seconds."""
        found, seconds = [], []
        for q in self.queries[start:stop]:
            begun = time.perf_counter()
            ids = self.engine.search(q, k, where)
            seconds.append(time.perf_counter() - begun)
            found.append(ids)
            if len(found) >= 20 and sum(seconds) > limit:
                break
        return {"ids": found, "seconds": seconds}

    def first(self, folder: str, k: int) -> dict[str, Any]:
        """Open and answer one query: the time since this process began, and without imports of numpy and Python."""
        begun = time.time()
        self.open(folder)
        self.engine.search(self.queries[0], k, None)
        return {"seconds": time.time() - begun, "since_start": time.time() - STARTED}

    def close(self) -> dict[str, Any]:
        """Close."""
        self.engine.close()
        return {}


def main() -> None:
    """Answer until stdin ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what engines print does not mix with answers
    session = Session(sys.argv[1], Path(sys.argv[2]))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(session, command.pop("do"))(**command)
        except Exception as error:  # told to the runner, which leaves the engine out
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(answer) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
