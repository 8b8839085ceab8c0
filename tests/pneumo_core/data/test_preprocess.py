import dataclasses
import errno
import json
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumo_core import files
from pneumo_core.data import dataset, preprocess, reading, rows
from pneumo_core.data.manifest import Manifest
from pneumo_core.data.scanned import Scanned
from pneumo_core.data.split import USED_ROLES, Split, assign_roles
from pneumo_core.errors import DataError, StorageError
from pneumo_core.specs import DataSpec, SplitSpec
from tests.pneumo_core.pictures import folder, write

SMALL = DataSpec(image_size_px=16)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return dataset.scan(folder(tmp_path / "data"), cache_dir=tmp_path / "cache")


@pytest.fixture
def split(manifest: Manifest) -> Split:
    return assign_roles(manifest, SplitSpec())


def prepare(manifest: Manifest, split: Split, tmp_path: Path, data: DataSpec = SMALL, **options: Any) -> Path:
    return preprocess.prepare(manifest, split, data, cache_dir=tmp_path / "cache", **options)


@pytest.mark.parametrize("resize", ["squash", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_rows_are_the_images_of_the_role(
    manifest: Manifest, split: Split, tmp_path: Path, resize: Any, channels: int
) -> None:
    data = DataSpec(image_size_px=16, resize=resize, channels=channels)
    prepared = prepare(manifest, split, tmp_path, data)
    by_path = {record.path: (record, group) for record, group in zip(manifest.records, split.groups, strict=True)}
    seen: list[str] = []
    for role in USED_ROLES:
        arrays = preprocess.open_role(prepared, role)
        assert arrays.x.shape == (split.roles.count(role), *data.shape)
        assert (arrays.x.dtype, arrays.y.dtype) == (np.uint8, np.uint8)
        for x, y, path, group, kind in zip(arrays.x, arrays.y, arrays.paths, arrays.groups, arrays.kinds, strict=True):
            record, its_group = by_path[path]
            assert (y, group, kind) == (record.label, its_group, record.kind)
            assert np.array_equal(x, rows.of_file(tmp_path / "data" / path, [data])[0])
        seen += arrays.paths
    assert sorted(seen) == sorted(by_path)


def test_a_trial_sees_train_and_validation_only(manifest: Manifest, split: Split, tmp_path: Path) -> None:
    arrays = preprocess.open_fit_arrays(prepare(manifest, split, tmp_path))
    assert {field.name for field in dataclasses.fields(arrays)} == {
        "x_train",
        "y_train",
        "groups_train",
        "x_validation",
        "y_validation",
        "groups_validation",
        "x_shifted",  # validation under shifts
        "origin",  # the cache's folder and a digest
    }
    assert len(arrays.x_train) == len(arrays.y_train) == split.roles.count("train")
    assert isinstance(arrays.x_train, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        arrays.x_train[0] = 0


def test_what_decides_about_the_folder(manifest: Manifest, split: Split, tmp_path: Path) -> None:
    first = prepare(manifest, split, tmp_path)
    assert prepare(manifest, split, tmp_path) == first
    others = [
        prepare(manifest, split, tmp_path, DataSpec(image_size_px=16, resize="pad")),
        prepare(manifest, assign_roles(manifest, SplitSpec(seed=1)), tmp_path),
    ]
    assert len({first, *others}) == 3


def test_file_order_does_not_decide(manifest: Manifest, split: Split, tmp_path: Path) -> None:
    first = prepare(manifest, split, tmp_path)
    contents = {file.name: file.read_bytes() for file in first.iterdir()}
    shuffled = dataclasses.replace(manifest, records=manifest.records[::-1])
    shutil.rmtree(first)
    assert prepare(shuffled, assign_roles(shuffled, SplitSpec()), tmp_path) == first
    assert {file.name: file.read_bytes() for file in first.iterdir()} == contents


def test_a_whole_cache_is_used_as_it_is(
    manifest: Manifest, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(manifest, split, tmp_path)
    shutil.rmtree(tmp_path / "data")  # nothing is decoded again
    assert prepare(manifest, split, tmp_path) == prepared


def _with_added_files(tmp_path: Path) -> tuple[Manifest, Split]:
    for number in range(3):
        write(tmp_path / "data" / "NORMAL" / f"IM-{900 + number:04d}-0001.jpeg", seed=900 + number)
    grown = dataset.scan(tmp_path / "data", cache_dir=tmp_path / "cache")
    return grown, assign_roles(grown, SplitSpec())


@pytest.mark.parametrize("damaged", [False, True])
def test_added_files_cost_only_themselves(
    manifest: Manifest, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    before = prepare(manifest, split, tmp_path)
    if damaged:
        _flip(before / "x_train.npy")
    grown, roles = _with_added_files(tmp_path)
    decoded: list[Any] = []
    decode = reading.decode
    monkeypatch.setattr(reading, "decode", lambda *args, **options: decoded.append(1) or decode(*args, **options))

    after = prepare(grown, roles, tmp_path)

    assert len(decoded) == (len(grown.records) if damaged else 3)
    anew = preprocess.prepare(grown, roles, SMALL, cache_dir=tmp_path / "elsewhere")
    for role in USED_ROLES:
        assert np.array_equal(preprocess.open_role(after, role).x, preprocess.open_role(anew, role).x)


def test_rows_of_another_size_are_not_taken_over(manifest: Manifest, split: Split, tmp_path: Path) -> None:
    prepare(manifest, split, tmp_path, DataSpec(image_size_px=24))

    assert preprocess.open_role(prepare(manifest, split, tmp_path), "train").x.shape[1:] == SMALL.shape


def test_a_first_launch_decodes_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [SMALL, DataSpec(image_size_px=224, resize="pad")]
    source, decoded, decode = folder(tmp_path / "data"), list[Any](), reading.decode_noted
    monkeypatch.setattr(reading, "decode_noted", lambda *args, **more: decoded.append(1) or decode(*args, **more))
    scanned = Scanned(sizes)
    manifest = dataset.scan(source, cache_dir=tmp_path / "cache", scanned=scanned)
    split = assign_roles(manifest, SplitSpec())
    folders = [prepare(manifest, split, tmp_path, data, scanned=scanned) for data in sizes]

    assert len(decoded) == len(manifest.records)
    for data, prepared in zip(sizes, folders, strict=True):
        twice = preprocess.prepare(manifest, split, data, cache_dir=tmp_path / "elsewhere")
        assert all((prepared / file.name).read_bytes() == file.read_bytes() for file in twice.iterdir())


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


@pytest.mark.parametrize("damage", [_flip, _truncate, Path.unlink])
@pytest.mark.parametrize("name", ["x_train.npy", "y_test.npy", "images_validation.json", "meta.json"])
def test_a_damaged_cache_is_rebuilt(manifest: Manifest, split: Split, tmp_path: Path, damage: Any, name: str) -> None:
    prepared = prepare(manifest, split, tmp_path)
    contents = {file.name: file.read_bytes() for file in prepared.iterdir()}
    damage(prepared / name)
    assert not preprocess.is_whole(prepared)
    prepare(manifest, split, tmp_path)
    assert {file.name: file.read_bytes() for file in prepared.iterdir()} == contents


@pytest.mark.parametrize("meta", ["[]", "{}", "null", '{"version": 1, "files": {}}', '{"version": 1, "files": []}'])
def test_a_meta_file_of_another_make_is_no_whole_cache(
    manifest: Manifest, split: Split, tmp_path: Path, meta: str
) -> None:
    prepared = prepare(manifest, split, tmp_path)
    (prepared / "meta.json").write_text(meta)
    assert not preprocess.is_whole(prepared)


@pytest.mark.parametrize("name", ["x_train.npy", "y_validation.npy"])
def test_opening_tells_a_truncated_array(manifest: Manifest, split: Split, tmp_path: Path, name: str) -> None:
    prepared = prepare(manifest, split, tmp_path)
    _truncate(prepared / name)
    with pytest.raises(DataError, match=f"{name}` is damaged .*; prepare the data again"):
        preprocess.open_fit_arrays(prepared)


@pytest.mark.parametrize("damage", [_truncate, Path.unlink])
def test_opening_tells_that_the_names_of_the_images_are_gone(
    manifest: Manifest, split: Split, tmp_path: Path, damage: Any
) -> None:
    prepared = prepare(manifest, split, tmp_path)
    damage(prepared / "images_train.json")
    with pytest.raises(DataError, match=r"images_train.json` is damaged .*; prepare the data again"):
        preprocess.open_fit_arrays(prepared)


def test_opening_what_is_not_there(manifest: Manifest, split: Split, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder of prepared arrays"):
        preprocess.open_fit_arrays(tmp_path)
    prepared = prepare(manifest, assign_roles(manifest, SplitSpec(calibration=0.0)), tmp_path)
    with pytest.raises(DataError, match="no arrays of the role `calibration`"):
        preprocess.open_role(prepared, "calibration")


def test_an_image_that_changed_since_the_scan(manifest: Manifest, split: Split, tmp_path: Path) -> None:
    write(tmp_path / "data" / manifest.records[3].path, 99)
    with pytest.raises(DataError, match="changed since the scan"):
        prepare(manifest, split, tmp_path)
    assert not [entry for entry in (tmp_path / "cache" / "arrays").iterdir() if entry.is_dir()]


def test_a_kill_half_way_leaves_nothing_broken(manifest: Manifest, split: Split, tmp_path: Path) -> None:
    code = """if True:
        import os, pathlib, sys
        from pneumo_core.data import dataset, preprocess
        from pneumo_core.specs import DataSpec, SplitSpec
        from pneumo_core.data.split import assign_roles

        def die(what, done, total):
            if what == "preparing images" and done == 15:
                os.kill(os.getpid(), 9)

        root = pathlib.Path(sys.argv[1])
        manifest = dataset.scan(root / "data", cache_dir=root / "cache")
        split = assign_roles(manifest, SplitSpec())
        preprocess.prepare(manifest, split, DataSpec(image_size_px=16), cache_dir=root / "cache", on_progress=die)
    """
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    assert len(list((tmp_path / "cache" / "arrays").glob("*.tmp-*"))) == 1
    assert preprocess.is_whole(prepare(manifest, split, tmp_path))
    assert not list((tmp_path / "cache" / "arrays").glob("*.tmp-*"))


def test_no_room_is_told_before_anything_is_written(
    manifest: Manifest, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 5, 1234))
    with pytest.raises(StorageError, match=r"\d+ MB needed, 1.23 kB free"):
        prepare(manifest, split, tmp_path)


def test_a_disk_that_fills_up_half_way(
    manifest: Manifest, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "digest", full)
    with pytest.raises(StorageError, match="is full"):
        prepare(manifest, split, tmp_path)
    assert not [entry for entry in (tmp_path / "cache" / "arrays").iterdir() if entry.is_dir()]


def test_the_split_of_another_manifest_is_refused(manifest: Manifest, split: Split, tmp_path: Path) -> None:
    fewer = dataclasses.replace(manifest, records=manifest.records[1:])
    with pytest.raises(ValueError, match="24 roles for 23 images"):
        prepare(fewer, split, tmp_path)


def test_progress_counts_every_image(manifest: Manifest, split: Split, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    prepare(manifest, split, tmp_path, on_progress=lambda *step: seen.append(step))
    assert seen == [("preparing images", n, 24) for n in range(1, 25)]


NAMES = ("x_{}", "x_{}_flat", "y_{}", "groups_{}")


def test_npz_has_the_arrays_in_four_and_two_dimensions(manifest: Manifest, split: Split, tmp_path: Path) -> None:
    prepared = prepare(manifest, split, tmp_path)
    with np.load(preprocess.write_npz(prepared, tmp_path / "out" / "all.npz"), allow_pickle=False) as stored:
        assert set(stored.files) == {name.format(role) for role in USED_ROLES for name in NAMES}
        for role in USED_ROLES:
            arrays = preprocess.open_role(prepared, role)
            assert np.array_equal(stored[f"x_{role}"], arrays.x)
            assert np.array_equal(stored[f"x_{role}_flat"], arrays.x.reshape(len(arrays.x), 16 * 16))
            assert np.array_equal(stored[f"y_{role}"], arrays.y)


def test_npz_replaces_nothing_but_an_earlier_one(manifest: Manifest, split: Split, tmp_path: Path) -> None:
    prepared = prepare(manifest, split, tmp_path / "cache")
    ours, theirs, text, link = (tmp_path / name for name in ("ours.npz", "theirs.npz", "a.txt", "link.npz"))
    np.savez(theirs, train_images=np.zeros(3))  # such as the source itself
    text.write_text("precious")
    link.symlink_to(ours)
    preprocess.write_npz(prepared, ours)
    preprocess.write_npz(prepared, ours)
    for other in (theirs, text, link):
        before = other.read_bytes()
        with pytest.raises(StorageError, match="not an earlier output"):
            preprocess.write_npz(prepared, other)
        assert other.read_bytes() == before


def test_meta_says_what_is_in_the_folder(manifest: Manifest, split: Split, tmp_path: Path) -> None:
    meta = json.loads((prepare(manifest, split, tmp_path) / "meta.json").read_text())
    assert meta["manifest"] == manifest.digest
    assert meta["split"] == split.digest
    assert meta["data"] == {"image_size_px": 16, "channels": 1, "resize": "squash"}
    assert meta["files"]["x_test.npy"]["shape"] == [split.roles.count("test"), 16, 16, 1]
