"""Calls with arguments that a function does not take, answered in one line: the names that peers use lead to ours.

``answering`` marks a public function, or a class with all its public methods; signatures stay as they are, and a call
that is sound costs a tenth of a microsecond more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, cast

from nearfield.core.errors import BadCall, did_you_mean

T = TypeVar("T")

# Our name -> what others call it, in lower case without underscores. The first counts that a function has.
_OURS = {
    "q": "query queries queryembedding queryembeddings queryvector queryvectors xq x embedding embeddings vectors",
    "queries": "q query queryembedding queryembeddings queryvector queryvectors xq x vector vectors embeddings",
    "text": "texts document querytext querytexts querystring words keywords",
    "x": "embedding embeddings vector vectors data values xb points",
    "texts": "text document documents docs content contents pagecontent",
    "meta": "metadata metadatas payload payloads properties attributes",
    "ids": "id key keys pks points",
    "k": "n nresults nneighbors topk topn limit size numresults maxresults",
    "limit": "k n nresults topk size maxresults",
    "offset": "skip start",
    "where": "filter filters wheredocument expr expression queryfilter condition predicate",
    "budget": "ef efsearch hnswef nprobe nprobes probes numcandidates searchparams searchlistsize",
    "min_score": "threshold scorethreshold minsimilarity certainty cutoff",
    "field": "vectorname annsfield vectorfield column using",
    "fuse": "fusion ranker reranker",
    "weights": "alpha weight",
    "batch": "batchsize pagesize chunksize rows",
    "rows": "batchsize chunksize batch",
    "dim": "dims dimension dimensions ndim embeddingdim vectorsize size ncomponents d",
    "metric": "distance distancemetric space metrictype similarity",
    "fields": "schema vectors vectorsconfig",
    "encoder": "embedder embeddingfunction embeddingmodel embedding model",
    "path": "name directory folder location uri url persistdirectory collectionname file filename",
    "mode": "readonly",
    "rng": "seed randomstate",
    "keep": "recall targetrecall quality",
    "smaller": "compression ratio factor",
    "latency_us": "latency",
    "sample": "samplesize nsamples",
    "degree": "m r maxconnections maxdegree graphdegree maxm",
    "width": "efconstruction ef efc l buildlistsize beamwidth",
    "lists": "nlist ncentroids nclusters",
    "parts": "m nsubvectors nsubquantizers subquantizers nsegments",
    "code_bits": "nbits bits",
    "bits": "nbits",
}
# What has no name of ours in a function, and where it belongs.
_ELSEWHERE = {
    "m efconstruction maxconnections nlist quantization indexparams indextype": (
        "an index and its parameters stand in a plan, such as hnsw(degree=16): see recode and Plan"
    ),
    "ef efsearch hnswef nprobe nprobes": "effort belongs to a search: search(..., budget=)",
    "include includevectors includemetadata withpayload withvectors outputfields": (
        "rows always come with text, meta and vectors, each read when it is asked for"
    ),
    "dim": "the width belongs to a field, such as nearfield.dense(64)",
    "metadata metadatas payload payloads": "metadata belong to the rows of a Collection, as meta=",
    "filter where filters": "filters on metadata are for a Collection; here rows are chosen by number, as allow=",
    "documents": "texts belong to the rows, as texts=",
}
_MADE = {
    "Collection": "is made by nearfield.open(path, dim=...), not by its class",
    "Packed": "is made by Plan(...).fit(x) or nearfield.load(path), not by its class",
    "Plan": "takes steps alone; metric=, ids= and whatever else belongs to rows goes to fit(...)",
}


def answering(target: T) -> T:
    """Mark a function, or a class with its public methods, to answer calls that do not fit in one line."""
    if not isinstance(target, type):
        made: Any = _answering(cast(Callable[..., Any], target), getattr(target, "__name__", ""), 0)
        return cast(T, made)
    for name, value in list(vars(target).items()):
        if callable(value) and not isinstance(value, (type, staticmethod)) and (name[0] != "_" or name == "__init__"):
            setattr(target, name, _answering(value, target.__name__ if name == "__init__" else name, 1))
    return target


def _answering(function: Callable[..., Any], where: str, bound: int) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # out of the function: the call did fit
            told = _misfit(function, where, args[bound:], options, bound)
            if told is None:
                raise
        raise BadCall(told)

    return call


def _misfit(
    function: Callable[..., Any], where: str, args: tuple[Any, ...], options: Mapping[str, Any], bound: int
) -> str | None:
    """What does not fit in a call, and what would; None where nothing is found."""
    import inspect  # takes longer to load than most of the package

    if where in _MADE:
        return f"{where}: {_MADE[where]}"
    taken = list(inspect.signature(function).parameters.values())[bound:]
    names = [p.name for p in taken]
    for name in options:
        if name not in names:
            return f"{where}: has no argument {name}=; {hint(name, names)}"
    places = [p.name for p in taken if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    if len(args) > len(places):
        by_name = ", ".join(f"{p}=" for p in names if p not in places) or "none"
        listed = ", ".join(places) or "none"
        return f"{where}: expected by position at most {listed}, got {len(args)} arguments; by name: {by_name}"
    twice = [name for name in places[: len(args)] if name in options]
    if twice:
        return f"{where}: expected {twice[0]} once, got it by position and by name"
    missing = [p.name for p in taken[len(args) :] if p.default is p.empty and p.name not in options]
    return f"{where}: expected {', '.join(missing)}, got none" if missing else None


def hint(name: str, known: Collection[str]) -> str:
    """What an argument of another name is called among those that are known.

    >>> hint("topK", ["q", "k", "where"]), hint("wher", ["q", "k", "where"])
    ('here it is k=', "did you mean 'where'? known: k, q, where")
    """
    theirs = name.lower().replace("_", "")
    for ours, others in _OURS.items():
        if ours in known and theirs in others.split():
            return f"here it is {ours}="
    for others, told in _ELSEWHERE.items():
        if theirs in others.split():
            return told
    return did_you_mean(name, known) if known else "it takes no parameters"
