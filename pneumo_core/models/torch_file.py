"""Read tensors from a PyTorch file of the legacy, non-zip format, without PyTorch and without trusting it.

The file is four pickles (magic number, protocol, system, the state dict), a fifth with the keys of the
storages in order, then each storage as a count (int64) and its raw little-endian values. A pickle can name
any function of any module to be called while it is read; here it can name four things, which have no effects.
See `torch/serialization.py: _legacy_load`.
"""

import math
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pneumo_core import helper
from pneumo_core.errors import DataError

MEMORY_BYTES = 512 * 2**20  # the largest file of weights read has 35 MB
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001


def read(path: Path, *, is_known: bool = False) -> dict[str, np.ndarray]:
    """Return the tensors of the state dict at `path` by name; `is_known` says that its digest is a published one.

    Even without calling anything, a pickle of nine bytes can ask for gigabytes, and one of 251 for minutes: a file
    that isn't known is read by a helper process. Raises `DataError` when the file is damaged, not of this format, or
    wants anything else done.
    """
    if is_known:
        return _read_file(path)
    try:
        return helper.call(_read_file, path, n_bytes=MEMORY_BYTES)
    except DataError as error:
        text = str(error)
        raise DataError(text if text.startswith(str(path)) else f"{path} is refused: it {text}") from error


def _read_file(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            return _read(file)
    except DataError as error:
        raise DataError(f"{path} is refused: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle may end in nearly any of them
        raise DataError(f"{path} is no readable PyTorch file of the legacy format: {error!r}") from error


@dataclass(frozen=True)
class _Dtype:
    """Replaces a storage class of PyTorch."""

    numpy: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: _Dtype
    n_values: int


@dataclass(frozen=True)
class _Tensor:
    """What the pickle says about a tensor; its values come later in the file."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in values, not bytes


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    """Replace `torch._utils._rebuild_tensor_v2`."""
    whole = isinstance(offset, int) and all(isinstance(n, int) and n >= 0 for n in (offset, *shape, *strides))
    if not (isinstance(storage, _Storage) and whole and len(shape) == len(strides)):
        raise DataError(f"a tensor of shape {shape!r}, strides {strides!r}, offset {offset!r} of {storage!r}")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch", "FloatStorage"): _Dtype("<f4"),
    ("torch", "LongStorage"): _Dtype("<i8"),
}


class _Unpickler(pickle.Unpickler):
    """Builds containers, strings, numbers and the stand-ins of `_ALLOWED`, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(f"it asks for `{module}.{name}`, which a file of weights has no use for") from None

    def persistent_load(self, pid: Any) -> _Storage:
        what, dtype, key, _, n_values, view = pid
        if what != "storage" or not isinstance(dtype, _Dtype) or not isinstance(n_values, int) or view is not None:
            raise DataError(f"it refers to {pid!r}, which is no plain storage")
        return _Storage(str(key), dtype, n_values)


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if (magic := _Unpickler(file).load()) != MAGIC_NUMBER:
        raise DataError(f"its magic number must be {MAGIC_NUMBER:#x}, got {magic!r}")
    if (version := _Unpickler(file).load()) != PROTOCOL_VERSION:
        raise DataError(f"its protocol must be {PROTOCOL_VERSION}, got {version!r}")
    _Unpickler(file).load()  # sizes of C types on the machine that wrote it; the format fixes ours
    described = _Unpickler(file).load()
    tensors = {name: item for name, item in described.items() if isinstance(item, _Tensor)}
    dtypes = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    storages = {key: _storage(file, dtypes[key]) for key in _Unpickler(file).load()}
    return {name: _strided(tensor, storages) for name, tensor in tensors.items()}


def _storage(file: BinaryIO, storage: _Storage) -> np.ndarray:
    n_values = int.from_bytes(file.read(8), "little", signed=True)
    dtype = np.dtype(storage.dtype.numpy)
    if n_values != storage.n_values:
        raise DataError(f"its storage {storage.key} holds {n_values} values instead of {storage.n_values}")
    return np.frombuffer(file.read(n_values * dtype.itemsize), dtype, n_values)


def _strided(tensor: _Tensor, storages: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the tensor's values, after checking that none lies outside its storage."""
    values = storages[tensor.storage.key]
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if math.prod(tensor.shape) > len(values) or not last < len(values):
        raise DataError(f"a tensor of shape {tensor.shape} reaches beyond its storage of {len(values)} values")
    strides = [stride * values.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides, writeable=False).copy()
