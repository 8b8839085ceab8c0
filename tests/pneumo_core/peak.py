"""The most memory that Python and NumPy take within a block."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def peak_below(n_bytes: float) -> Iterator[None]:
    """Fail where the block makes room for more than `n_bytes` at a time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < n_bytes, f"{peak} bytes"
