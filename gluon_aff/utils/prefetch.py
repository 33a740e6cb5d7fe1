"""Threads that work ahead of a loop."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Deque, Iterable, Iterator, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetch(
    make: Callable[[Item], Made], items: Iterable[Item], workers: int, ahead: int, name: str
) -> Iterator[Made]:
    """``make`` of each item, in their order; ``workers`` threads called ``name`` are up to ``ahead`` items in front.

    What ``make`` raises is raised here. Closing or dropping the iterator ends the threads.
    """
    pending: Deque[Future] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
    try:
        for item in items:
            pending.append(pool.submit(make, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        pool.shutdown()
