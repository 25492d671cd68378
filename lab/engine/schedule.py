"""Hosts side by side, each waiting only for the hosts its ``after:`` names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from lab.model.host import Host

ResultT = TypeVar("ResultT")


def each(
    hosts: Iterable[Host],
    work: Callable[[Host, tuple[str, ...]], ResultT],
    is_good: Callable[[ResultT], bool],
    jobs: int,
) -> dict[str, ResultT]:
    """Call ``work(host, failed)`` for every host; results by name, in the hosts' order.

    ``failed`` names the hosts it waited for that did not end well; the work is called all the
    same, to report that. Hosts named by ``after:`` that are not among ``hosts`` are not waited for.
    An exception of ``work`` is raised here, after all running work has ended.
    """
    waiting = {h.name: h for h in hosts}
    order = tuple(waiting)
    missing = {name: {a for a in h.after if a in waiting} for name, h in waiting.items()}
    waiters: dict[str, list[str]] = {}
    for name, needed in missing.items():
        for other in needed:
            waiters.setdefault(other, []).append(name)
    results: dict[str, ResultT] = {}
    ended: SimpleQueue[tuple[str, Future[ResultT]]] = SimpleQueue()
    running = 0
    with ThreadPoolExecutor(max_workers=max(1, jobs), thread_name_prefix="host") as pool:

        def start(name: str) -> None:
            host = waiting[name]
            failed = tuple(a for a in host.after if a in results and not is_good(results[a]))
            future = pool.submit(work, host, failed)
            future.add_done_callback(lambda done, name=name: ended.put((name, done)))  # type: ignore[misc]

        for name in [n for n in order if not missing[n]]:
            start(name)
            running += 1
        while running:
            name, future = ended.get()
            running -= 1
            results[name] = future.result()
            for other in waiters.get(name, ()):
                missing[other].discard(name)
                if not missing[other]:
                    start(other)
                    running += 1
    return {name: results[name] for name in order}
