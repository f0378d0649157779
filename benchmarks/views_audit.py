"""How much of their texts do round trips through Apertium keep, at which threshold, and how much do the other views?

    python -m benchmarks.views_audit --data FOLDER

The round trips of some lines of wiki-sentences are written once, into a store in a temporary folder; then the same
recipe is audited with each `min_similarity`, where a text without a usable round trip falls back to `word_delete`. All
other views are audited on the same texts. The result holds no text, whose licence is another than ours: of the worst
examples it has the cosines alone.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import datasets
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import RESULTS, data_folder, parser, write_result
from textcl.assemble import auditing
from textcl.assemble.auditing import audit_views, build_recipe_views
from textcl.assemble.components import make_components
from textcl.assemble.sides import Judge, make_judge, open_store, usable_views
from textcl.assemble.texts import held, read_training_texts
from textcl.assemble.views import unwritten
from textcl.errors import MissingExtraError
from textcl.progress import bar, quiet
from textcl.recipe.models import Recipe
from textcl.recipe.reading import read_recipe
from textcl.views.audit import ViewAudit

THRESHOLDS = (None, 0.6, 0.7, 0.8, 0.9)
BACK_TRANSLATED = """
encoder: {model: all-MiniLM-L6-v2}
views:
  first: [{name: dropout}]
  second:
    - name: back_translate
      translator: {name: apertium}
      otherwise: [{name: word_delete}]
"""
# A choice is audited view by view.
OTHERS = """
encoder: {model: all-MiniLM-L6-v2}
views:
  first:
    - name: choice
      of:
        - {name: mask}
        - {name: span_mask}
        - {name: replace}
        - {name: cutoff}
        - {name: delete}
        - {name: shuffle}
        - {name: repeat}
        - {name: crop}
        - {name: word_delete}
        - {name: word_order}
        - {name: typos}
        - {name: letter_case}
        - {name: keywords}
"""
PAIR_VIEWS = ("inverse_cloze", "neighbours")
COLUMNS = ("cosine", "5 %", "50 %", "95 %", "overlap", "length", "unchanged", "empty")


def main() -> None:
    """Audit round trips and the other views; write results/views_audit.json and the same as a table."""
    asked = parser(__doc__ or "")
    asked.add_argument("--texts", type=int, default=2_000, help="lines for the round trips")
    asked.add_argument("--other-texts", type=int, default=500, help="of these, lines for the other views")
    arguments = asked.parse_args()
    path = data_folder(arguments, "wiki-sentences") / "sentences-0.txt.gz"
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(datasets.config, "HF_DATASETS_CACHE", folder),  # and not in the user's cache
        mock.patch.object(auditing, "make_judge", cache(_remembering_judge)),
    ):
        settings = {"data.train": str(path), "data.limit": arguments.texts, "views.store": str(Path(folder) / "store")}
        try:
            trips = _audit_round_trips(settings)
        except MissingExtraError as error:
            raise SystemExit(str(error)) from None
        others = _audit_others({**settings, "data.limit": arguments.other_texts})
    texts = {"texts": arguments.texts, "other_texts": arguments.other_texts}
    about = {"data": f"wiki-sentences/{path.name}", **texts, "judge": "all-MiniLM-L6-v2"}
    measured = {**about, "back_translate": trips, "others": others}
    table = _table(measured)
    print(f"\n{table}")
    write_result("views_audit", measured)
    (RESULTS / "views_audit.md").write_text(table, encoding="utf-8")


def _remembering_judge(model: str, device: str) -> Judge:
    """Return a judge that embeds a text once, since the same ones come up at every threshold."""
    judge, known = make_judge(model, device), dict[str, NDArray[np.float32]]()

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, judge.embed(new), strict=True))
        return np.stack([known[text] for text in texts])

    return Judge(judge.fingerprint, embed)


def _audit_round_trips(settings: Mapping[str, object]) -> dict[str, Any]:
    """Return what was written, and for each threshold how many round trips are below it and what is left then."""
    started = time.perf_counter()
    _store, (done,) = build_recipe_views(_round_trips(settings, min(filter(None, THRESHOLDS))), progress=bar)
    seconds = time.perf_counter() - started
    (plan,) = unwritten(make_components(_round_trips(settings, None), "cpu").second)
    return {
        "made_by": plan.rewriter.facts,
        "texts": done.built.texts,
        "without_round_trip": done.built.empty,
        "written_and_compared_s": round(seconds, 1),
        "thresholds": [_audit_threshold(settings, threshold) for threshold in THRESHOLDS],
    }


def _round_trips(settings: Mapping[str, object], threshold: float | None) -> Recipe:
    recipe = read_recipe(BACK_TRANSLATED, settings)
    view = recipe.views.second[0].model_copy(update={"min_similarity": threshold})
    return recipe.model_copy(update={"views": recipe.views.model_copy(update={"second": (view,)})})


def _audit_threshold(settings: Mapping[str, object], threshold: float | None) -> dict[str, Any]:
    recipe = _round_trips(settings, threshold)
    texts = held(read_training_texts(recipe.data, quiet)[0]).anchors
    (plan,) = unwritten(make_components(recipe, "cpu").second)
    store = open_store(recipe, "cpu")
    kept = usable_views(plan, texts, store, [])
    every = usable_views(replace(plan, min_similarity=None), texts, store, [])
    audits = audit_views(recipe, len(texts), progress=bar)
    return {
        "min_similarity": threshold,
        "round_trips": sum(map(len, every.values())),
        "dropped": sum(map(len, every.values())) - sum(map(len, kept.values())),
        "fall_back": sum(not variants for variants in kept.values()),
        # What training sees: round trips, and word_delete where there is none.
        "audit": _numbers(next(one for one in audits if one.name == "second, as a whole")),
    }


def _audit_others(settings: Mapping[str, object]) -> list[dict[str, Any]]:
    audits = audit_views(read_recipe(OTHERS, settings), _limit(settings), progress=bar)
    found = [one for one in audits if one.name.startswith("first.")]
    for name in PAIR_VIEWS:
        recipe = read_recipe("encoder: {model: all-MiniLM-L6-v2}", {**settings, "views.pair": {"name": name}})
        found += [one for one in audit_views(recipe, _limit(settings), progress=bar) if one.name.startswith("pair ")]
    return [_numbers(one) for one in found]


def _limit(settings: Mapping[str, object]) -> int:
    return int(str(settings["data.limit"]))


def _numbers(audit: ViewAudit) -> dict[str, Any]:
    """Return an audit without any text."""
    numbers = audit.to_json()
    worst = numbers.pop("worst")
    name = audit.name.split(" ", 1)[1] if audit.name.startswith(("first.", "pair ")) else audit.name
    return {**numbers, "name": name, "worst_cosines": [one["cosine"] for one in worst]}


def _table(measured: Mapping[str, Any]) -> str:
    """Return both halves of the result as Markdown."""
    trips = measured["back_translate"]
    said = (
        f"{measured['texts']} lines of {measured['data']}; cosines of text and view under {measured['judge']}, their "
        "mean and quantiles; shared tokens; tokens of view / text; shares of unchanged and of empty views.\n"
    )
    thresholds = [
        [_or_none(one["min_similarity"]), str(one["dropped"]), str(one["fall_back"]), *_cells(one["audit"])]
        for one in trips["thresholds"]
    ]
    views = [[one["name"], *_cells(one)] for one in measured["others"]]
    return "\n".join(
        [
            "# What views keep of their texts\n",
            f"`python -m benchmarks.views_audit`. {said}",
            "## Apertium, English to Spanish and back; `word_delete` where no round trip is left\n",
            *_markdown(("min_similarity", "dropped", "fall back", *COLUMNS), thresholds),
            f"\n## Other views, at their defaults, on {measured['other_texts']} of the lines\n",
            *_markdown(("view", *COLUMNS), views),
            "",
        ]
    )


def _cells(audit: Mapping[str, Any]) -> list[str]:
    quantiles = [audit["quantiles"][share] for share in ("0.05", "0.5", "0.95")]
    shares = [audit[name] for name in ("token_overlap", "length_ratio", "unchanged", "empty")]
    return [f"{number:.3f}" for number in (audit["cosine"], *quantiles, *shares)]


def _or_none(threshold: float | None) -> str:
    return "none" if threshold is None else f"{threshold:g}"


def _markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    names = list(columns)
    return [f"| {' | '.join(row)} |" for row in (names, ["---"] * len(names), *map(list, rows))]


if __name__ == "__main__":
    main()
