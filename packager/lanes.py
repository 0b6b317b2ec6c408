"""Does the same work on many items with a few workers, each of which can do one item at a time.

Guarantees: answers come in the order of the items, whichever worker was quicker, so nothing that is computed from them
depends on how many workers there are; at most one item a worker is waiting, so memory stays bounded; an error of a
worker is raised where its answer would have come, and no thread outlives the iteration.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

MOST = 8
"""More interpreters than this would cost more memory than time is left to save."""

Worker = TypeVar("Worker")
Item = TypeVar("Item")
Answer = TypeVar("Answer")


def lane_count(items: int) -> int:
    """How many workers are worth making for so many items: one per core that this process may use, up to ``MOST``."""
    return max(1, min(len(os.sched_getaffinity(0)), MOST, items))


def work_in_lanes(
    workers: Sequence[Worker], work: Callable[[Worker, Item], Answer], items: Iterable[Item]
) -> Iterator[Answer]:
    """Let workers do items, side by side.

    Args:
        workers: At least one; each is used by one thread at a time. They should leave Python's lock while they work.
        work: Does one item with one worker.
        items: Taken one after another, by the caller's thread.

    Yields:
        One answer per item, in the order of the items.
    """
    if len(workers) == 1:
        for item in items:
            yield work(workers[0], item)
        return
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def do(item: Item) -> Answer:
        worker = free.get()
        try:
            return work(worker, item)
        finally:
            free.put(worker)

    with ThreadPoolExecutor(len(workers), thread_name_prefix="lane") as pool:
        waiting: deque[Future[Answer]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(do, item))
                if len(waiting) > len(workers):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
