import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumo_core.data import dataset, medmnist
from pneumo_core.data.manifest import Manifest
from pneumo_core.data.split import assign_roles
from pneumo_core.errors import DataError
from pneumo_core.specs import DataSpec, SplitSpec
from tests.pneumo_core.peak import peak_below
from tests.pneumo_core.pictures import folder, pixels


def arrays(channels: int = 1, **changes: Any) -> dict[str, Any]:
    """Return the arrays of a small file: 24 train, 6 val, 10 test images of 20 × 20."""
    found: dict[str, Any] = {}
    for first, (role, n) in enumerate((("train", 24), ("val", 6), ("test", 10))):
        images = np.stack([pixels(1000 * first + i, width=20, height=20) for i in range(n)])
        found[f"{role}_images"] = images if channels == 1 else np.repeat(images[..., None], 3, axis=3)
        found[f"{role}_labels"] = (np.arange(n) % 2).reshape(n, 1).astype(np.uint8)
    return {name: value for name, value in {**found, **changes}.items() if value is not None}


def scan(tmp_path: Path, **contents: Any) -> Manifest:
    np.savez(tmp_path / "set.npz", **contents)
    return dataset.scan(tmp_path / "set.npz", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("channels", [1, 3])
def test_test_is_official_and_val_is_folded_in(tmp_path: Path, channels: int) -> None:
    manifest = scan(tmp_path, **arrays(channels))
    assert (len(manifest.records), manifest.n_of_class(1)) == (40, 20)
    split = assign_roles(manifest, SplitSpec())
    tested = {record.path for record, role in zip(manifest.records, split.roles, strict=True) if role == "test"}
    assert tested == {f"test_images/{i:06d}" for i in range(10)}


@pytest.mark.parametrize("channels", [1, 3])
def test_the_reader_gives_the_pixels(tmp_path: Path, channels: int) -> None:
    manifest = scan(tmp_path, **arrays())
    read = dataset.reader(manifest)
    (record,) = (record for record in manifest.records if record.path == "val_images/000003")
    assert np.array_equal(read(record, channels, None), np.repeat(pixels(1003, 20, 20)[..., None], channels, axis=2))
    assert record.label == 1


def test_the_reader_refuses_a_changed_file(tmp_path: Path) -> None:
    manifest = scan(tmp_path, **arrays())
    np.savez(tmp_path / "set.npz", **arrays(train_images=np.zeros((24, 20, 20), np.uint8)))
    with pytest.raises(DataError, match="changed since the scan"):
        dataset.reader(manifest)(next(r for r in manifest.records if r.path.startswith("train")), 1, None)


def test_the_digest_does_not_depend_on_the_place(tmp_path: Path) -> None:
    first = scan(tmp_path, **arrays())
    (tmp_path / "set.npz").rename(tmp_path / "other.npz")
    assert dataset.scan(tmp_path / "other.npz", cache_dir=tmp_path).digest == first.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": None}, "must have the arrays"),
        ({"val_labels": None}, "only one of `val_images` and `val_labels`"),
        ({"train_images": np.zeros((24, 20, 20))}, r"`train_images` of .* got \(24, 20, 20\) float64"),
        ({"test_labels": np.zeros(9, np.uint8)}, "must be 10 whole numbers"),
        ({"test_labels": np.arange(10)}, r"must be 0 or 1, got \[2, 3, 4, 5, 6\] too"),
        ({"train_labels": np.array([None] * 24)}, "not a readable `.npz` of plain arrays"),
    ],
)
def test_other_contents_are_errors(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        scan(tmp_path, **arrays(**changes))


def test_one_class_only(tmp_path: Path) -> None:
    labels = {f"{role}_labels": np.ones(n, np.uint8) for role, n in (("train", 24), ("val", 6), ("test", 10))}
    with pytest.raises(DataError, match=r"no image with label 0 \(class `NORMAL`\)"):
        scan(tmp_path, **arrays(**labels))


@pytest.mark.parametrize("data", [b"", b"text", b"PK\x03\x04" + b"\0" * 50])
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "set.npz").write_bytes(data)
    with pytest.raises(DataError, match="not a readable"):
        medmnist.scan(tmp_path / "set.npz", negative="a", positive="b", cache_dir=tmp_path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        dataset.scan(tmp_path / "none.npz", cache_dir=tmp_path)


def test_arrays_can_be_prepared(tmp_path: Path) -> None:
    from pneumo_core.data import preprocess

    manifest = scan(tmp_path, **arrays())
    folder = preprocess.prepare(
        manifest, assign_roles(manifest, SplitSpec()), DataSpec(image_size_px=20), cache_dir=tmp_path
    )
    tested = preprocess.open_role(folder, "test")
    assert np.array_equal(tested.x[:, :, :, 0], arrays()["test_images"])


def test_what_prepare_wrote_is_a_source(tmp_path: Path) -> None:
    from pneumo_core.data import preprocess

    first = dataset.scan(folder(tmp_path / "data", 20), cache_dir=tmp_path)
    split = assign_roles(first, SplitSpec())
    arrays_of = preprocess.prepare(first, split, DataSpec(image_size_px=24), cache_dir=tmp_path)
    again = dataset.scan(preprocess.write_npz(arrays_of, tmp_path / "own.npz"), cache_dir=tmp_path)
    assert [again.n_of_class(label) for label in (0, 1)] == [20, 20]
    assert {record.group for record in again.records} == {record.group for record in first.records}
    assert again.patients == "the groups in the file"
    tested = {record.group for record in again.records if record.official_role == "test"}
    assert tested == {split.groups[index] for index in split.indices("test")}


def _says(path: Path, n: int, claimed: int) -> Path:
    """Write a `.npz` of `n` images of 28 × 28 whose header claims others."""
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (claimed, 28, 28)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_images.npy", buffer.getvalue() + bytes(n * 784))
        labels = io.BytesIO()
        np.save(labels, np.zeros(n, np.uint8))
        archive.writestr("train_labels.npy", labels.getvalue())
    return path


def test_what_a_file_claims_is_no_reason_to_make_room_for_it(tmp_path: Path) -> None:
    with peak_below(20e6):
        with pytest.raises(DataError, match=r"unpacks to 13\d{9} bytes, more than the 939524096 that are read"):
            dataset.scan(_forged(tmp_path / "says.npz", 13 * 10**9), cache_dir=tmp_path)
        with pytest.raises(DataError, match=r"unpacks to 12\d{9} bytes"):
            dataset.scan(_says(tmp_path / "claims.npz", 3, 16_000_000), cache_dir=tmp_path)


def _forged(path: Path, n_bytes: int) -> Path:
    """Write a small `.npz` whose directory says that an array has so many bytes."""
    with zipfile.ZipFile(_says(path, 3, 3), "a") as archive:
        archive.getinfo("train_images.npy").file_size = n_bytes
        archive.writestr("more", b"")  # so that the directory is written anew
    return path


def test_images_without_pixels_are_refused_however_many(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be \(n, h, w\)"):
        scan(tmp_path, **arrays(train_images=np.zeros((24, 0, 20), np.uint8)))
    many = np.zeros((250_001, 1, 1), np.uint8)
    with pytest.raises(DataError, match="has 250001 images, more than the 250000 that are read"):
        scan(tmp_path, train_images=many, train_labels=many)
