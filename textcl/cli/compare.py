"""`textcl compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.output import comparison_json, say, show_changes, show_comparison, show_json

if TYPE_CHECKING:
    from textcl.assemble.comparing import Pairing


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_A RUN_B", help="TREC run files; with commas between: one system under several seeds"
        ),
    ],
    qrels: Annotated[
        list[Path], typer.Option(help="judgements, TREC or BEIR; several: one for each two runs, in their order")
    ],
    measures: Annotated[str, typer.Option(help="separated by commas")] = "ndcg@10,mrr@10,recall@10,recall@100",
    seed: Annotated[int, typer.Option(help="of the bootstrap and the permutations")] = 0,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Tell whether run B differs from run A by more than chance; exit 1 if it is worse."""
    from textcl.assemble.comparing import check_not_worse, compare_files

    comparisons = compare_files(_pairings(runs, qrels), measures=measures.split(","), seed=seed, say=say)
    if json:
        made = {name: comparison_json(comparison) for name, comparison in comparisons.items()}
        show_json(next(iter(made.values())) if len(made) == 1 else {"collections": made})
    else:
        for name, comparison in comparisons.items():
            if len(comparisons) > 1:
                print(name)
            show_comparison(comparison, tests=sum(len(one.measures) for one in comparisons.values()))
            show_changes(comparison)
    check_not_worse(comparisons)


def _pairings(runs: list[str], qrels: list[Path]) -> list[Pairing]:
    from textcl.assemble.comparing import Pairing
    from textcl.errors import ConfigError

    if len(runs) != 2 * len(qrels):
        expected = f"two for each of the {len(qrels)} qrels, a run before and one after"
        raise ConfigError("runs", problem=f"expected {expected}, got {len(runs)}")
    systems = [_files(run) for run in runs]
    return [Pairing(systems[2 * place], systems[2 * place + 1], path) for place, path in enumerate(qrels)]


def _files(run: str) -> tuple[Path, ...]:
    if Path(run).is_file():
        return (Path(run),)
    return tuple(Path(one) for one in run.split(","))
