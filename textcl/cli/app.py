"""Puts the commands together and turns what they raise into exit codes."""

from __future__ import annotations

import errno
import gc
import sys
import traceback
from collections.abc import Sequence
from typing import cast

import typer

from textcl.cli import compare, demo, encode, evaluate, index, mine, recipe, report, search, train, views
from textcl.errors import PromiseError, TextclError

# typer carries click's UsageError with it, without a public name; BadParameter is its child.
_Usage = cast(type[typer.BadParameter], typer.BadParameter.__bases__[0])

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DONE, GATE, WRONG_INPUT, BUG, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    help="From raw text to measured search: train sentence encoders, build FAISS indexes, evaluate retrieval.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("encode")(encode.encode)
app.command("search")(search.search)
app.command("mine")(mine.mine)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.add_typer(index.app, name="index")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(recipe.app, name="recipe")
app.add_typer(views.app, name="views")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 a gate said no, 2 wrong input, 3 a bug of ours, 130 interrupted."""
    code = run(arguments)
    _leave_processes()
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; faults are on standard error, one line each."""
    try:
        returned = app(arguments, standalone_mode=False)
    except PromiseError as error:
        return _fault(error, GATE)
    except TextclError as error:
        return _fault(error, WRONG_INPUT)
    except _Usage as error:
        return _fault(error.format_message(), WRONG_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _fault("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        sys.stderr.close()
        return DONE
    except Exception as error:
        return _unexpected(error)
    if returned == INTERRUPTED:  # typer makes this of Ctrl-C, without a word
        return _fault("interrupted", INTERRUPTED)
    return returned if isinstance(returned, int) else DONE


def _unexpected(error: Exception) -> int:
    """Say that a disk is full, or that there is a bug."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        where = error.filename or "the disk"
        return _fault(f"{where}: {error.strerror}; make room, and run the command again", WRONG_INPUT)
    traceback.print_exception(error)
    return _fault("this is a bug in textcl: please report it with the lines above and the command", BUG)


def _fault(error: object, code: int) -> int:
    for line in str(error).splitlines():
        print(f"textcl: {line}", file=sys.stderr)
    return code


def _leave_processes() -> None:
    """Leave the group of processes that a command has joined; its threads, met by the interpreter's exit, abort it.

    What a run holds must be gone by then, the traceback of a fault too: a wrapped model that is freed after its group
    waits for the group's threads, while they wait for the interpreter's lock.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()
