"""Worker processes do not hear Ctrl-C, which a terminal sends to all at once: who started them ends them."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def deaf_workers() -> Iterator[None]:
    """Processes and threads that are started inside never get SIGINT; one that comes meanwhile is raised at the end.

    The mask of blocked signals is inherited, by threads and by the processes that they start. Without it every worker
    ends with a traceback of its own, wherever it is, and what tends them with another.
    """
    resource_tracker.ensure_running()  # here: it takes signals off the mask when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def ended_with_us() -> Iterator[None]:
    """When what is inside fails or is interrupted, the processes that it started are ended: nobody waits for them."""
    before = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
