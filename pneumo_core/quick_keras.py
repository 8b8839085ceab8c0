"""Importing Keras without what makes that slow, or everything afterwards.

Keras imports optional packages wherever they are installed: scikit-learn (with SciPy's statistics and pandas),
Matplotlib, IPython and, beside TensorFlow, JAX serve wrappers that nothing here calls. They take 3.2 of the 8.9 CPU
seconds in which a trainer starts (`time`, two cores).

Keras and TensorFlow are 300,000 objects that stay for good. The garbage collector looks through them some ten times
while they are imported, and after each trial for 0.3 s, unless they are frozen (`gc.freeze`).
"""

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OPTIONAL = ("IPython", "matplotlib", "pandas", "sklearn")


def load(package: str = "keras") -> None:
    """Import `package`, which imports Keras. What needs one of the optional packages imports it afterwards as usual."""
    backend = os.environ.get("KERAS_BACKEND")
    with hidden(*_OPTIONAL, *(("jax",) if backend == "tensorflow" else ())), uncollected():
        importlib.import_module(package)


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage meanwhile, and never look again through the objects that are alive afterwards."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """Let imports of `packages` raise `ImportError` meanwhile; what is imported already stays."""
    absent = dict.fromkeys(name for name in packages if name not in sys.modules)
    sys.modules.update(absent)  # type: ignore[arg-type]  # None means that there is no such module
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
