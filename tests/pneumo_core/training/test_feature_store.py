"""Kept arrays: built once, whole, and bounded in size."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pneumo_core.errors import StorageError
from pneumo_core.training import feature_store
from pneumo_core.training.feature_store import LIMIT_VARIABLE

ROOT = Path(__file__).parents[3]
SHAPE = (50, 5)  # 1000 bytes, 1128 in the file
SLOW_BUILD = """
import sys, time
from pathlib import Path
import numpy as np
from pneumo_core.training import feature_store

def parts():
    print("computed")
    time.sleep(0.5)
    yield np.ones((50, 5), np.float32)

kept = feature_store.open_or_build(Path(sys.argv[1]), "key", (50, 5), parts())
assert kept.sum() == 250
"""


def parts(value: float = 1.0) -> Iterator[feature_store.Features]:
    yield np.full((30, 5), value, np.float32)
    yield np.full((20, 5), value + 1, np.float32)


def nothing() -> Iterator[feature_store.Features]:
    raise AssertionError("must not be computed")
    yield


def test_an_array_is_computed_once_and_comes_back_as_written(tmp_path: Path) -> None:
    built = feature_store.open_or_build(tmp_path, "key", SHAPE, parts())
    opened = feature_store.open_or_build(tmp_path, "key", SHAPE, nothing())

    np.testing.assert_array_equal(built, np.concatenate(list(parts())), strict=True)
    np.testing.assert_array_equal(opened, built, strict=True)
    assert isinstance(opened, np.memmap)
    assert not opened.flags.writeable


def test_two_processes_at_once_compute_it_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW_BUILD, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]

    output = "".join(process.communicate()[0] for process in both)

    assert [process.returncode for process in both] == [0, 0]
    assert output.split() == ["computed"]


@pytest.mark.parametrize("damage", ["cut", "bit", "gone", "meta"])
def test_a_damaged_array_is_computed_anew(damage: str, tmp_path: Path) -> None:
    feature_store.open_or_build(tmp_path, "key", SHAPE, parts())
    file = tmp_path / "key" / ("meta.json" if damage == "meta" else "features.npy")
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if damage == "bit" else content[: len(content) // 2])

    kept = feature_store.open_or_build(tmp_path, "key", SHAPE, parts(5.0))

    np.testing.assert_array_equal(kept, np.concatenate(list(parts(5.0))))


def test_what_was_used_longest_ago_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, str(3200 / 1e9))
    mapped = feature_store.open_or_build(tmp_path, "a", SHAPE, parts())
    feature_store.open_or_build(tmp_path, "b", SHAPE, parts())
    for name, used_at in (("a", 1), ("b", 2)):
        os.utime(tmp_path / name / "meta.json", (used_at, used_at))
    feature_store.open_or_build(tmp_path, "a", SHAPE, nothing())  # is used now

    feature_store.open_or_build(tmp_path, "c", SHAPE, parts())

    assert [entry.folder.name for entry in feature_store.entries(tmp_path)] == ["a", "c"]
    feature_store.open_or_build(tmp_path, "d", SHAPE, parts())
    assert mapped.sum() == 350  # removed, and still there for who has it open


def test_features_take_half_of_a_disk_and_what_was_used_longest_ago_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = 5000  # half of it is room for two arrays

    def usage(folder: Path) -> SimpleNamespace:
        used = sum(file.stat().st_size for file in tmp_path.rglob("features.npy"))
        return SimpleNamespace(free=disk - used)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    for name in ("a", "b", "c"):
        feature_store.open_or_build(tmp_path, name, SHAPE, parts())
        os.utime(tmp_path / name / "meta.json", (ord(name), ord(name)))
    assert [entry.folder.name for entry in feature_store.entries(tmp_path)] == ["b", "c"]

    with pytest.raises(StorageError, match="no room"):
        feature_store.open_or_build(tmp_path, "d", (200, 5), nothing())
    assert [entry.folder.name for entry in feature_store.entries(tmp_path)] == ["b", "c"]  # their loss helps nobody


def test_an_array_beyond_the_limit_or_a_bad_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, str(100 / 1e9))
    with pytest.raises(StorageError, match=LIMIT_VARIABLE):
        feature_store.open_or_build(tmp_path, "key", SHAPE, nothing())
    assert feature_store.entries(tmp_path) == []

    monkeypatch.setenv(LIMIT_VARIABLE, "much")
    with pytest.raises(StorageError, match="'much'"):
        feature_store.limit_bytes()


def test_a_builder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[feature_store.Features]:
        yield np.zeros((30, 5), np.float32)
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="full"):
        feature_store.open_or_build(tmp_path, "key", SHAPE, broken())

    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
