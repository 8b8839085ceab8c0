"""Reading PyTorch files without PyTorch and without trust."""

import pickle
import resource
import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumo_core import helper
from pneumo_core.errors import DataError
from pneumo_core.models import torch_file


class _Global:
    """Pickles as the global `module.name`, which may be missing here."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Writer(pickle._Pickler):  # the Python one: the C one won't name a global that doesn't exist
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Global):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        else:
            super().save(obj, save_persistent_id)

    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, _Stored) else None


class _Stored:
    def __init__(self, key: str, n_values: int, kind: str = "FloatStorage") -> None:
        self.pid = ("storage", _Global("torch", kind), key, "cpu", n_values, None)


class _Called:
    """Pickles as the result of calling a global."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return (self.function, self.arguments)


class _Reduced(_Called):
    """A `_Called` of a `_Global`: the opcodes by hand, since `save_reduce` wants a callable."""


def _save_reduced(writer: _Writer, obj: _Reduced) -> None:
    writer.save(obj.function)
    writer.save(obj.arguments)
    writer.write(pickle.REDUCE)


_Writer.dispatch = {**pickle._Pickler.dispatch, _Reduced: _save_reduced}


def tensor(key: str, n_values: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> _Reduced:
    rebuild = _Global("torch._utils", "_rebuild_tensor_v2")
    return _Reduced(rebuild, _Stored(key, n_values), offset, shape, strides, False, {})


def write(path: Path, state: Any, storages: dict[str, np.ndarray], magic: int = torch_file.MAGIC_NUMBER) -> Path:
    with path.open("wb") as file:
        for part in (magic, torch_file.PROTOCOL_VERSION, {}, state, list(storages)):
            _Writer(file, protocol=2).dump(part)
        for values in storages.values():
            file.write(struct.pack("<q", len(values)) + values.astype("<f4").tobytes())
    return path


SIX = np.arange(6, dtype=np.float32)


def test_tensors_come_back_by_name_with_their_strides(tmp_path: Path) -> None:
    state = {"plain": tensor("a", 6, (2, 3), (3, 1)), "turned": tensor("a", 6, (3, 2), (1, 3)), "version": 1}

    tensors = torch_file.read(write(tmp_path / "file.pth", state, {"a": SIX}))

    assert list(tensors) == ["plain", "turned"]
    np.testing.assert_array_equal(tensors["plain"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tensors["turned"], tensors["plain"].T)


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("builtins", "eval"), ("torch.hub", "load"), ("pickle", "loads")]
)
def test_a_pickle_that_wants_anything_else_is_refused(module: str, name: str, tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    state = {"weight": _Reduced(_Global(module, name), f"touch {harm}")}

    with pytest.raises(DataError, match=f"asks for `{module}.{name}`"):
        torch_file.read(write(tmp_path / "file.pth", state, {}))

    assert not harm.exists()


def test_a_real_exploit_is_refused_before_it_acts(tmp_path: Path) -> None:
    harm, path = tmp_path / "harm", tmp_path / "file.pth"
    path.write_bytes(pickle.dumps(_Called(Path.touch, harm)))

    with pytest.raises(DataError, match="asks for"):
        torch_file.read(path)

    assert not harm.exists()


@pytest.mark.parametrize(
    ("shape", "strides", "offset"), [((7,), (1,), 0), ((2,), (6,), 0), ((2,), (1,), 5), ((2,), (-1,), 3)]
)
def test_a_tensor_beyond_its_storage_is_refused(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int, tmp_path: Path
) -> None:
    state = {"weight": tensor("a", 6, shape, strides, offset)}

    with pytest.raises(DataError, match="tensor of shape"):
        torch_file.read(write(tmp_path / "file.pth", state, {"a": SIX}))


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "file.pth", {"weight": tensor("a", 6, (6,), (1,))}, {"a": SIX})
    whole = path.read_bytes()
    for damaged in (b"", whole[:10], whole[:-30], whole[:-1], b"PK\3\4" + whole):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"file\.pth"):
            torch_file.read(path)

    with pytest.raises(DataError, match="magic number"):
        torch_file.read(write(path, {}, {}, magic=7))
    with pytest.raises(DataError, match=r"none\.pth"):
        torch_file.read(tmp_path / "none.pth")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x80\x02" + b"r\xff\xff\xff\x3f" + b"N.", id="a memo of 2^30 places"),
        pytest.param(b"\x80\x02)" + b"q\x00h\x00\x86" * 60 + b"}" + b"h\x00Ns.", id="nested tuples as a key"),
    ],
)
def test_a_pickle_of_few_bytes_costs_little(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "call", partial(helper.call, limit_s=1.0))
    (tmp_path / "weights.pth").write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"weights.pth"):
        torch_file.read(tmp_path / "weights.pth")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
