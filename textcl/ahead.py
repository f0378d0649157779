"""Work that is done one step ahead, in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def ahead(make: Callable[[In], Out], items: Iterable[In], name: str) -> Iterator[Out]:
    """Yield `make(item)` of each item, while a thread called `name` makes that of the next; a single one has no thread.

    Items are taken one ahead too, in the caller's thread. What `make` raises comes out where its result would have.
    """
    rest = iter(items)
    first = list(islice(rest, 2))
    if len(first) < 2:
        yield from map(make, first)
        return
    with ThreadPoolExecutor(1, thread_name_prefix=name) as thread:
        coming: Future[Out] | None = None
        for item in chain(first, rest):
            current, coming = coming, thread.submit(make, item)
            if current is not None:
                yield current.result()
        if coming is not None:
            yield coming.result()
