"""What does `textcl demo` buy, and how much of it is luck?

    python -m benchmarks.demo_seeds --seeds 3
    python -m benchmarks.demo_seeds --seeds 1 --split dev --set training.max_steps=40 --name demo_dev_40_steps

The first writes the spread over seeds on the test topics (results/demo_seeds.json). The second tries a setting on the
dev topics: whatever is chosen, is chosen there.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.harness import parser, spread, write_result
from textcl.assemble.demo import demo
from textcl.progress import bar
from textcl.recipe.reading import parse_overrides


def main() -> None:
    """Run the demo once a seed and write the spread of its differences."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--split", choices=("test", "dev"), default="test")
    arguments.add_argument("--set", action="append", default=[], help="key=value put over the demo's recipe")
    arguments.add_argument("--name", default="demo_seeds")
    chosen = arguments.parse_args()
    runs = []
    for seed in range(chosen.seeds):
        with tempfile.TemporaryDirectory() as folder:
            made = demo(
                out=Path(folder) / "demo",
                seed=seed,
                split=chosen.split,
                overrides=parse_overrides(chosen.set),
                progress=bar,
                say=print,
            )
        runs.append({"seed": seed, "difference": made.comparison.to_json(), "seconds": made.seconds})
        print(seed, made.comparison.to_json()["ndcg@10"])
    measures = list(runs[0]["difference"])  # type: ignore[call-overload]
    rows = {
        measure: {
            what: spread([100 * run["difference"][measure][what] for run in runs])  # type: ignore[index]
            for what in ("before", "after", "difference")
        }
        for measure in measures
    }
    seconds = spread([sum(run["seconds"].values()) for run in runs])  # type: ignore[attr-defined]
    settings = {"split": chosen.split, "set": chosen.set, "points_of": 100}
    write_result(chosen.name, {**settings, "measures": rows, "seconds": seconds, "runs": runs})


if __name__ == "__main__":
    main()
