import shutil
import tempfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumo_core.data import bounded, dataset, preprocess, rows
from pneumo_core.data.scanned import Scanned
from pneumo_core.data.split import USED_ROLES, assign_roles
from pneumo_core.specs import DataSpec, SplitSpec
from tests.pneumo_core.pictures import encoded, folder, pixels

SMALL, LARGE = DataSpec(image_size_px=16), DataSpec(image_size_px=24, resize="pad")


def scan(tmp_path: Path, scanned: Scanned) -> dataset.Manifest:
    return dataset.scan(tmp_path / "data", cache_dir=tmp_path / "cache", scanned=scanned)


def arrays(tmp_path: Path, scanned: Scanned, data: DataSpec = SMALL) -> list[Any]:
    """Return the arrays of every role after a scan that keeps what it can."""
    folder(tmp_path / "data")
    manifest = scan(tmp_path, scanned)
    split = assign_roles(manifest, SplitSpec())
    prepared = preprocess.prepare(manifest, split, data, cache_dir=tmp_path / "cache", scanned=scanned)
    return [preprocess.open_role(prepared, role).x for role in USED_ROLES]


def test_rows_are_those_of_the_files(tmp_path: Path) -> None:
    root, scanned = folder(tmp_path / "data"), Scanned([SMALL, LARGE])
    (root / "NORMAL" / "a.tiff").write_bytes(encoded(pixels(77), "TIFF"))  # read by a helper
    manifest = scan(tmp_path, scanned)
    assert not bounded.cost_of((root / "NORMAL" / "a.tiff").read_bytes()).is_plain
    for data in (SMALL, LARGE):
        assert set(scanned.rows(data)) == {record.digest for record in manifest.records}
        for record in manifest.records:
            assert np.array_equal(scanned.rows(data)[record.digest], rows.of_file(root / record.path, [data])[0])


def test_what_is_decoded_in_another_way_is_not_kept(tmp_path: Path) -> None:
    scanned = Scanned([SMALL, DataSpec(image_size_px=16, channels=3), DataSpec(image_size_px=256)])
    folder(tmp_path / "data")
    scan(tmp_path, scanned)
    assert scanned.specs == (SMALL,)


def test_a_scan_that_decodes_nothing_keeps_nothing(tmp_path: Path) -> None:
    folder(tmp_path / "data")
    scan(tmp_path, Scanned())
    again = Scanned([SMALL])
    scan(tmp_path, again)
    assert not again.rows(SMALL)


def test_only_files_without_a_name_are_on_the_disk(tmp_path: Path) -> None:
    scanned = Scanned([SMALL, LARGE])
    folder(tmp_path / "data")
    scan(tmp_path, scanned)
    assert not [
        file for file in (tmp_path / "cache").rglob("*") if file.is_file() and file.suffix not in (".npz", ".json")
    ]
    scanned.forget(SMALL)
    assert (len(scanned.rows(SMALL)), len(scanned.rows(LARGE))) == (0, 24)


def test_larger_sizes_are_left_out_where_the_disk_has_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 2 * (24 * 16 * 16 + 100)))
    folder(tmp_path / "data")
    scanned = Scanned([SMALL, LARGE])
    scan(tmp_path, scanned)
    assert scanned.specs == (SMALL,)


def test_a_full_disk_costs_a_second_decoding_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = arrays(tmp_path / "usual", Scanned())
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "wb", buffering=0))  # noqa: SIM115
    scanned = Scanned([SMALL])
    found = arrays(tmp_path / "full", scanned)
    assert scanned.specs == ()
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))
