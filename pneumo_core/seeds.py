"""Seeds: derived from what they are for, and set globally in this one place."""

import hashlib
import json


def derive(*parts: int | str) -> int:
    """Return a stable seed in [0, 2**31) named by `parts`, the same on every machine and Python.

    `derive("1")`, `derive(1)` and `derive(1, "")` differ: the parts are hashed with their types and borders.
    """
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1  # 31 bits: fits the signed 32-bit integers of every backend


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and the backend, so that what is built and trained next reproduces.

    Keras is imported here and not above, because the coordinator, which never loads it, calls `derive`.
    """
    import keras

    keras.utils.set_random_seed(seed)
