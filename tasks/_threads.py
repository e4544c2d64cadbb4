"""Small products on one processor: on a busy machine BLAS' threads wait for one another many times as long as they compute."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

# Multiplications that one processor has done in some hundredths of a second.
_SMALL = 1e9


def one_thread_if_small(multiplications: float) -> AbstractContextManager[object]:
    """Keep BLAS to one thread inside, unless there are more multiplications than it pays for."""
    from threadpoolctl import threadpool_limits

    if multiplications >= _SMALL:
        return contextlib.nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(1, "blas")
    return limits
