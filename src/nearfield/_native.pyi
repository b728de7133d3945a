import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Constant = tuple[int, int, float, float]

Coefficients = tuple[F32 | None, ...]
Filters = tuple[NDArray[np.uint64], I64]

class Format:
    def __init__(
        self,
        layout: int,
        element: int,
        width: int,
        dim: int,
        nibble_columns: int,
        byte_columns: int,
        levels: list[int],
        scale: Constant,
        shift: Constant,
    ) -> None: ...

def isas() -> list[tuple[str, bool]]: ...
def scan(
    isa: int,
    format: Format,
    codes: U8,
    n: int,
    m: int,
    coefficients: Coefficients,
    metric: int,
    terms: F32 | None,
    allow: NDArray[np.uint64] | None,
    k: int,
    threads: int,
) -> tuple[I64, F32]: ...
def score_rows(
    isa: int,
    format: Format,
    codes: U8,
    n: int,
    m: int,
    coefficients: Coefficients,
    metric: int,
    terms: F32 | None,
    rows: I64 | None,
    threads: int,
) -> F32: ...
def topk(scores: F32, k: int, threads: int) -> tuple[I64, F32]: ...
def assign(isa: int, x: F32, centroids: F32, threads: int) -> tuple[NDArray[np.int32], F32]: ...
def plus_plus(isa: int, x: F32, first: int, draws: NDArray[np.float64]) -> I64: ...
def part_tables(isa: int, q: F32, codebooks: F32, threads: int) -> F32: ...
def hamming(isa: int, q: U8, codes: U8, threads: int) -> NDArray[np.int32]: ...
def group_sums(isa: int, x: F32, labels: NDArray[np.int32], k: int, threads: int) -> F64: ...
def spans(isa: int, x: F32, mean: F32, threads: int) -> tuple[F64, F64]: ...
def even_steps(
    isa: int, x: F32, mean: F32, firsts: F64, lasts: F64, bits: int, cell_bits: int, threads: int
) -> tuple[U8 | NDArray[np.uint16], F64]: ...
def level_codes(
    isa: int,
    columns: F32,
    sums: F32,
    codes: NDArray[np.uint16],
    starts: I64,
    pieces: NDArray[np.int32],
    inside: F64,
    width: int,
    threads: int,
) -> tuple[U8, F64]: ...
def level_values(isa: int, codes: U8, pieces: NDArray[np.int32], levels: F32, columns: int, threads: int) -> F32: ...
def weighted_sums(isa: int, weights: F32, rows: F32, threads: int) -> F32: ...

class Rows:
    def __init__(
        self,
        isa: int,
        format: Format,
        codes: U8,
        n: int,
        metric: int,
        terms: F32 | None,
        blocks: bool = False,
        checks: Checks | None = None,
    ) -> None: ...

class DiskFault(Exception): ...

class Checks:
    def __init__(self, offset: int, size: int, piece: int, sums: NDArray[np.uint32], name: str) -> None: ...

class Disk:
    def __init__(
        self, file: int, offset: int, n: int, width: int, piece: int, sums: NDArray[np.uint32], name: str
    ) -> None: ...
    def take(self, rows: I64) -> U8: ...
    def counts(self) -> dict[str, int]: ...

class DiskGraph:
    def __init__(
        self,
        rows: Rows,
        nodes: U8 | Disk,
        shape: tuple[int, int, int, int, int, int],
        entries: NDArray[np.uint32],
        beam: int,
        cached: int,
    ) -> None: ...
    def search(
        self,
        coefficients: Coefficients,
        queries: F32,
        allow: NDArray[np.uint64] | None,
        k: int,
        width: int,
        threads: int,
    ) -> tuple[I64, F32, I64]: ...
    def score(self, queries: F32, rows: I64, threads: int) -> F32: ...

def rows_on_disk(isa: int, format: Format, disk: Disk, metric: int, terms: F32 | None) -> Rows: ...

class Finder:
    def find(
        self,
        m: int,
        coefficients: Coefficients,
        allow: Filters | None,
        k: int,
        effort: int,
        threads: int,
        vectors: F32 | None = None,
    ) -> tuple[I64, F32, I64, I64]: ...
    def prefer(self, way: int) -> None: ...

def graph_finder(rows: Rows, links: NDArray[np.uint32], entries: NDArray[np.uint32], effort: F32) -> Finder: ...
def packed_finder(
    rows: Rows,
    links: NDArray[np.uint32],
    entries: NDArray[np.uint32],
    effort: F32,
    lines: NDArray[np.uint8],
    axes: tuple[object, ...],
) -> Finder: ...
def bitmap(flags: NDArray[np.bool_]) -> Filters: ...
def layered_finder(
    rows: Rows,
    links: NDArray[np.uint32],
    members: NDArray[np.uint32],
    upper: NDArray[np.uint32],
    counts: list[int],
    effort: F32,
) -> Finder: ...
def trees_finder(
    rows: Rows,
    order: NDArray[np.uint32],
    normals: NDArray[np.int8],
    sides: F32,
    thresholds: F32,
    levels: int,
    dim: int,
    length: float,
) -> Finder: ...
def hash_finder(
    rows: Rows,
    signs: bool,
    bits: int,
    directions: F32,
    offsets: F32,
    keys: NDArray[np.uint32],
    order: NDArray[np.uint32],
) -> Finder: ...
def hash_keys(signs: bool, bits: int, projections: F32) -> NDArray[np.uint32]: ...
def list_finder(
    rows: Rows,
    order: NDArray[np.uint32],
    starts: NDArray[np.uint32],
    centroids: NDArray[np.int8],
    scales: F32,
    slopes: F32,
    leans: F32,
    centred: bool,
) -> Finder: ...
def flat_finder(rows: Rows) -> Finder: ...

Affine = tuple[int, int, F32 | None, F32 | None, F32 | None]
Number = tuple[F32 | None, float, bool]
Pieces = tuple[NDArray[np.int32], F32]
Folding = tuple[Affine, Number, Number, Number] | tuple[Affine, Number, Number, Number, Pieces | None, Pieces | None]

class Pipeline:
    def __init__(
        self,
        finder: Finder,
        unit: bool,
        map: Affine,
        fold: Folding,
        bias: Number,
        steps: list[tuple[Rows, Folding, bool, bool, int]],
        live: Filters | None,
    ) -> None: ...
    def search(
        self,
        queries: F32,
        k: int,
        effort: int,
        allow: Filters | None,
        threads: int,
        ids: I64,
        scores: F32,
        counts: I64,
    ) -> bool: ...

class LineRows:
    def __init__(self, lines: U8, axes: tuple[NDArray[np.int8], F32, F32, F32, U8, float], lifted: bool) -> None: ...

class Growth:
    def __init__(
        self,
        isa: int,
        bytes: NDArray[np.int8],
        sides: F32,
        links: NDArray[np.uint32],
        counts: NDArray[np.int32],
        degree: int,
        chosen: int,
        width: int,
        alpha: float,
        threads: int,
        lines: LineRows | None = None,
        dead: U8 | None = None,
    ) -> None: ...
    def choose(
        self, rows: NDArray[np.uint32], entries: NDArray[np.uint32], own: bool, chosen: NDArray[np.uint32]
    ) -> None: ...
    def choose_near(self, first: int, near: NDArray[np.uint32], chosen: NDArray[np.uint32]) -> None: ...
    def choose_beyond(self, rows: NDArray[np.uint32], chosen: NDArray[np.uint32]) -> None: ...
    def enter(self, rows: NDArray[np.uint32], chosen: NDArray[np.uint32]) -> None: ...
    def lead_back(self, edges: NDArray[np.uint64], done: I64) -> None: ...
    def settle(self, from_row: int, to_row: int) -> None: ...

def descend(
    isa: int,
    bytes: NDArray[np.int8],
    sides: F32,
    links: NDArray[np.uint32],
    counts: NDArray[np.int32],
    of: NDArray[np.int8],
    of_sides: F32,
    rows: NDArray[np.uint32],
    starts: NDArray[np.uint32],
    threads: int,
) -> NDArray[np.uint32]: ...
def grow_trees(
    isa: int,
    bytes: NDArray[np.int8],
    sides: F32,
    rows: NDArray[np.uint32],
    normals: NDArray[np.int8],
    along: F32,
    thresholds: F32,
    levels: int,
    seed: int,
    first: int,
    part: tuple[int, int, int, int],
    down: int,
    threads: int,
) -> int: ...

class NearLists:
    def __init__(
        self,
        isa: int,
        bytes: NDArray[np.int8],
        sides: F32,
        rows: NDArray[np.uint32],
        gaps: F32,
        fresh: U8,
        some: int,
        threads: int,
    ) -> None: ...
    def leaves(self, order: NDArray[np.uint32], begins: I64) -> None: ...
    def draw(self, seed: int, from_row: int, to_row: int) -> None: ...
    def age(self, from_row: int, to_row: int) -> None: ...
    def join(self, from_row: int, to_row: int) -> int: ...
