"""Rankings → scores, without torch: exact search, run files, measures, intervals, comparisons and sentence similarity.

One canonical order (`ranking.py`) feeds every measure, the run files and the comparison.
"""

from textcl.evaluation.compare import compare_runs
from textcl.evaluation.retrieval import evaluate_run
from textcl.evaluation.runs import read_run, write_run

__all__ = ["compare_runs", "evaluate_run", "read_run", "write_run"]
