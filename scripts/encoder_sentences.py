"""Sentences of general language that the embedded encoder learns from: captions, requests, phrase books, talk.

Sentences that say the same come in pairs: captions of a picture, and sentences that have a translation in common.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from encoder_reading import Pair, git_files, plain

# Folder of the sources, commit and file. COCO's captions: those of 5,000 pictures each.
CAPTIONS = [
    ("evaluate", "1152656d3b8c66c48fc6a4357e159f5e21bd2d2d", "annotations/captions_val2017.json"),
    ("MSMNN", "00434c9378199a48c470e94068c962c14558af5b", "data/coco_precomp/testall_caps.txt"),
    ("MSMNN", "00434c9378199a48c470e94068c962c14558af5b", "data/coco_precomp/dev_caps.txt"),
    ("Deep-learning", "f6dc16835b135fae04a7ecb18312a23e112ea6d7", "coco_captions.csv"),
]
TATOEBA = [
    ("data", "adddaf33ac35572bcfeb421efec29435e7ea9332", "fra-eng.zip", "fra-eng/fra.txt"),
    ("dats6450_nlp", "fc38d83c4353d753fb9b34d98e945cbc5fab2811", "deu-eng.zip", "deu.txt"),
]
NLTK = "5db857e6f7df11eabb5e5665836db9ec8df07e28"
BANKING = "57ec275d8078af65b7731c2a98be812d844a6d6b"
CLINC = "828f8093932c8fe6ca7936c3d2e52903b1c523de"
_CAPTIONS_EACH = 5  # captions of a picture, one after another in a list of captions


def _file(sources: Path, repository: str, commit: str, name: str) -> bytes:
    """A file of a commit."""
    [(_, content)] = git_files(sources / f"{repository}.git", commit, lambda found: found == name)
    return content


def _by_picture(name: str, content: str) -> Iterator[list[str]]:
    """The captions of each picture."""
    if name.endswith(".txt"):
        lines = content.splitlines()
        yield from (lines[i : i + _CAPTIONS_EACH] for i in range(0, len(lines), _CAPTIONS_EACH))
        return
    is_json = name.endswith(".json")
    rows = json.loads(content)["annotations"] if is_json else csv.DictReader(io.StringIO(content))
    pictures: dict[str, list[str]] = {}
    for row in rows:
        pictures.setdefault(str(row["image_id"]), []).append(row["caption"])
    yield from pictures.values()


def _two_by_two(alike: list[str]) -> Iterator[Pair]:
    """Texts that say the same as pairs, each text in one; an odd one stands alone."""
    for i in range(0, len(alike), 2):
        yield alike[i], alike[i + 1] if i + 1 < len(alike) else ""


def coco(sources: Path) -> Iterator[Pair]:
    """Captions of the same picture, two by two."""
    known: set[str] = set()
    for repository, commit, name in CAPTIONS:
        content = _file(sources, repository, commit, name).decode()
        for captions in _by_picture(name, content):
            new = dict.fromkeys(plain(c).replace(" .", ".") for c in captions)
            chosen = [c for c in new if c.strip(".").lower() not in known]
            known.update(c.strip(".").lower() for c in chosen)
            yield from _two_by_two(chosen)


def tatoeba(sources: Path) -> Iterator[Pair]:
    """Sentences that have a translation in common, two by two; the others by themselves."""
    groups: dict[str, dict[str, None]] = {}
    for repository, commit, archive, name in TATOEBA:
        packed = _file(sources, repository, commit, archive)
        with zipfile.ZipFile(io.BytesIO(packed)) as files:
            for line in files.read(name).decode().splitlines():
                english, other = line.split("\t")[:2]
                if len(english.split()) >= 4:
                    groups.setdefault(f"{name} {other}", {})[plain(english)] = None
    known: set[str] = set()
    for alike in sorted(groups.values(), key=len, reverse=True):
        new = [sentence for sentence in alike if sentence not in known]
        known.update(new)
        yield from _two_by_two(new)


def _untagged(line: str) -> str:
    """A line of words with their tags as a sentence."""
    text = " ".join(token.rsplit("_", 1)[0] for token in line.split())
    text = re.sub(r" (['\u2019](?:s|m|re|ve|d|ll|t)|n['\u2019]t)\b", r"\1", text)
    return plain(re.sub(r" ([.,;:!?%)])", r"\1", text))


def masc(sources: Path) -> Iterator[Pair]:
    """Sentences of the Manually Annotated Sub-Corpus: letters, news, blogs, fiction, guides, talk."""
    packed = _file(sources, "nltk_data", NLTK, "packages/corpora/masc_tagged.zip")
    with zipfile.ZipFile(io.BytesIO(packed)) as files:
        for name in sorted(files.namelist()):
            if re.search(r"/(spoken|written)/.*\.txt", name):
                for line in files.read(name).decode("utf-8", errors="replace").splitlines():
                    text = _untagged(line)
                    if len(text.split()) >= 5 and len(text) <= 300 and text.count("@") + text.count("/") <= 2:
                        yield text, ""


def requests(sources: Path) -> Iterator[Pair]:
    """What people ask a bank or an assistant."""
    banking = _file(sources, "task-specific-datasets", BANKING, "banking_data/train.csv")
    for row in csv.DictReader(io.StringIO(banking.decode())):
        yield plain(row["text"]), ""
    clinc = _file(sources, "oos-eval", CLINC, "data/data_full.json")
    for text, _ in chain.from_iterable(json.loads(clinc).values()):
        yield plain(text), ""
