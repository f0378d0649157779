"""Files of a few lines, of every kind that the commands take."""

from __future__ import annotations

import json

RECIPE = """\
encoder: {{model: {model}, max_tokens: 24, dropout: 0.1}}
data: {{train: {texts}}}
views:
  second: [{{name: mask, rate: 0.2}}]
training: {{precision: fp32, batch_size: 8, max_steps: 4, learning_rate: 1.0e-3, log_every: 1, save_every: 2}}
"""


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_jsonl(path, rows):
    return write_lines(path, [json.dumps(row, ensure_ascii=False) for row in rows])


def write_collection(folder, texts, queries=6):
    """A BEIR folder: each text a document; the first words of some are queries, and their own text is the answer."""
    (folder / "qrels").mkdir(parents=True)
    write_jsonl(folder / "corpus.jsonl", [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(texts)])
    asked = [{"_id": f"q{i}", "text": " ".join(texts[i].split()[:4])} for i in range(queries)]
    write_jsonl(folder / "queries.jsonl", asked)
    judged = [f"q{i}\td{i}\t1" for i in range(queries)]
    write_lines(folder / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *judged])
    return folder


def write_recipe(folder, model, texts, more=""):
    """A recipe of four steps on a file of single texts; `more` are further sections."""
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(model=model, texts=texts) + more, encoding="utf-8")
    return path
