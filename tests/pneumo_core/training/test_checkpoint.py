"""Checkpoints as files."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumo_core.training import checkpoint
from pneumo_core.training.checkpoint import Checkpoint, UnusableCheckpoint

STATE = {"n_epochs": 3, "history": [{"loss": 0.1}], "best": None}
ARRAYS = {"a.0": np.arange(6, dtype=np.float32).reshape(2, 3), "a.1": np.array(7, np.uint32)}


def save(path: Path, identity: str = "me", state: Any = STATE) -> None:
    checkpoint.save(path, identity, Checkpoint(state=state, arrays=ARRAYS))


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    save(tmp_path / "new" / "trial.npz")

    loaded = checkpoint.load(tmp_path / "new" / "trial.npz", "me")

    assert loaded is not None
    assert loaded.state == STATE
    assert list(loaded.arrays) == list(ARRAYS)
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(loaded.arrays[name], values, strict=True)


def test_no_file_is_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path / "none", "me") is None


def test_damage_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "trial.npz"
    save(path)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UnusableCheckpoint, match="damaged"):
            checkpoint.load(path, "me")

    at = whole.index(ARRAYS["a.0"].tobytes())
    path.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
    with pytest.raises(UnusableCheckpoint, match="damaged"):
        checkpoint.load(path, "me")


def test_another_trials_file_is_not_taken(tmp_path: Path) -> None:
    save(tmp_path / "trial.npz", identity="you")

    with pytest.raises(UnusableCheckpoint, match="another trial"):
        checkpoint.load(tmp_path / "trial.npz", "me")


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "trial.npz", header=np.array([{"format": 1}], dtype=object))

    with pytest.raises(UnusableCheckpoint, match="damaged"):
        checkpoint.load(tmp_path / "trial.npz", "me")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "trial.npz"
    save(path)
    old = path.read_bytes()

    with pytest.raises(ValueError, match="Object arrays"):
        checkpoint.save(path, "me", Checkpoint(state=STATE, arrays={"bad": np.array([object()])}))

    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["trial.npz"]


def test_removing_takes_the_leftovers_of_killed_writers_too(tmp_path: Path) -> None:
    path = tmp_path / "trial.npz"
    save(path)
    (tmp_path / "trial.tmp-123.npz").write_bytes(b"half")
    (tmp_path / "other.npz").write_bytes(b"other")

    checkpoint.remove(path)

    assert [file.name for file in tmp_path.iterdir()] == ["other.npz"]
    checkpoint.remove(path)


def test_removing_is_done_where_another_removes_the_folder_at_that_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoints" / "trial.npz"
    save(path)
    listed = os.scandir

    def gone_before(folder: Any) -> Any:
        path.parent.rename(tmp_path / "gone")
        return listed(folder)

    monkeypatch.setattr(os, "scandir", gone_before)
    checkpoint.remove(path)
    assert (tmp_path / "gone").exists()
