import errno
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from pneumo_core import files
from pneumo_core.errors import StorageError


def is_whole(folder: Path) -> bool:
    return (folder / "a").is_file() and (folder / "a").read_text() == "whole"


def build(folder: Path) -> None:
    (folder / "a").write_text("whole")


def never(folder: Path) -> None:
    raise AssertionError("built again")


def test_builds_once(tmp_path: Path) -> None:
    folder = files.build_once(tmp_path / "deep" / "key", build, is_whole)
    assert is_whole(folder)
    assert files.build_once(folder, never, is_whole) == folder


def test_a_damaged_folder_is_replaced(tmp_path: Path) -> None:
    folder = files.build_once(tmp_path / "key", build, is_whole)
    (folder / "a").write_text("half")
    (folder / "left over").write_text("")
    files.build_once(folder, build, is_whole)
    assert [entry.name for entry in folder.iterdir()] == ["a"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["key", "key.lock"]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        build(folder)
        raise KeyError("half-way")

    with pytest.raises(KeyError):
        files.build_once(tmp_path / "key", fail, is_whole)
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.lock"]


def test_what_a_killed_builder_left_is_cleaned(tmp_path: Path) -> None:
    code = """if True:
        import os, pathlib, sys
        from pneumo_core import files

        def die(folder):
            (folder / "a").write_text("whole")
            os.kill(os.getpid(), 9)

        files.build_once(pathlib.Path(sys.argv[1]), die, lambda folder: False)
    """
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "key"], check=False).returncode == -9
    assert len(list(tmp_path.glob("key.tmp-*"))) == 1
    assert is_whole(files.build_once(tmp_path / "key", build, is_whole))
    assert not list(tmp_path.glob("key.tmp-*"))


def test_without_locks_the_temporary_folder_of_another_builder_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key.tmp-1").mkdir()
    monkeypatch.setattr(files, "_locked", lambda file: False)
    assert is_whole(files.build_once(tmp_path / "key", build, is_whole))
    assert (tmp_path / "key.tmp-1").is_dir()


def test_two_builders_at_once_build_once(tmp_path: Path) -> None:
    built: list[Path] = []
    inside = threading.Event()
    go_on = threading.Event()

    def slow(folder: Path) -> None:
        built.append(folder)
        inside.set()
        assert go_on.wait(10)
        build(folder)

    threads = [threading.Thread(target=files.build_once, args=(tmp_path / "key", slow, is_whole)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert inside.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(built) == 1
    assert is_whole(tmp_path / "key")


def test_write_file_replaces_all_or_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    files.write_file(file, lambda path: path.write_text("old"))

    def fail(path: Path) -> None:
        path.write_text("ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match=r"disk of .* is full; free some"):
        files.write_file(file, fail)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"can't write to .*; choose a cache folder"):
        files.build_once(tmp_path / "file" / "key", build, is_whole)


def test_room_is_checked_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 5, 999))
    files.check_room(tmp_path, 999)
    with pytest.raises(StorageError, match=r"1.23 GB needed, 999 bytes free"):
        files.check_room(tmp_path, 1_230_000_000)
