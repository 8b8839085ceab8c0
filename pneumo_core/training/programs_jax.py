"""Programs that JAX compiled for an accelerator, kept beside the arrays: the next trial of the same shapes loads them.

Compiling a fine-tuning for a GPU takes minutes where several trainers do it at once, loading it seconds. JAX knows by
which key a program is found: its operations, the device, the versions. What kernels it tried out is kept there as well.
"""

import contextlib
import os
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

FOLDER = "programs"
LIMIT_BYTES = 4 * 10**9
LEAST_S = 0.1  # what compiles faster is not kept
OTHERS_MAY_WRITE = 0o022


def keep_in(cache_dir: Path) -> None:
    """Keep what is compiled from now on in `cache_dir`, on accelerators, unless the user has named a place to JAX.

    A program is code that runs, so nothing is read from a folder that other users can write to. On the CPU nothing is
    kept: home folders are shared between processors with different instructions.
    """
    folder = cache_dir / FOLDER
    if jax.default_backend() == "cpu" or jax.config.jax_compilation_cache_dir:
        return
    with contextlib.suppress(OSError):  # a full or read-only disk costs time, not the trial
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_ours(folder):
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_S)
            compilation_cache.reset_cache()  # JAX looks for the setting once, when it first compiles
            make_room(folder)


def make_room(folder: Path) -> None:
    """Remove what was written longest ago while `folder` holds more than `LIMIT_BYTES`."""
    facts = {file: file.stat() for file in folder.rglob("*") if file.is_file()}
    total = sum(each.st_size for each in facts.values())
    for file in sorted(facts, key=lambda file: facts[file].st_mtime):
        if total <= LIMIT_BYTES:
            return
        file.unlink(missing_ok=True)
        total -= facts[file].st_size


def _is_ours(folder: Path) -> bool:
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & OTHERS_MAY_WRITE
