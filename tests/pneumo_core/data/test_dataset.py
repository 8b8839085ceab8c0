import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pneumo_core import codec
from pneumo_core.data import dataset, inspection, reading
from pneumo_core.data.manifest import Manifest
from pneumo_core.data.source_spec import SourceSpec
from pneumo_core.errors import DataError, StorageError
from tests.pneumo_core.pictures import DATA, encoded, folder, needs_data, pixels, write


def scan(root: Path, tmp_path: Path, **options: Any) -> Manifest:
    return dataset.scan(SourceSpec(source=str(root), **options), cache_dir=tmp_path / "cache")


def test_a_record_has_the_facts(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", role="train")
    manifest = scan(root, tmp_path)
    path = "train/PNEUMONIA/person1_virus_2.jpeg"
    (record,) = (record for record in manifest.records if record.path == path)
    data = (root / path).read_bytes()
    assert record == dataset.ImageRecord(
        path=path,
        label=1,
        group="virus-1",
        kind="virus",
        official_role="train",
        width_px=40,
        height_px=32,
        mode="L",
        n_bytes=len(data),
        digest=inspection.content_digest(data),
        look=inspection.content_digest(data),
    )
    assert [record.path for record in manifest.records] == sorted(record.path for record in manifest.records)
    assert (manifest.n_of_class(0), manifest.n_of_class(1)) == (12, 12)


def test_bad_files_are_quarantined_with_a_reason(tmp_path: Path) -> None:
    root = folder(tmp_path / "data")
    jpeg = encoded(pixels(99, width=300, height=300), "JPEG")
    bad = {"empty.jpeg": b"", "half.jpeg": jpeg[: len(jpeg) // 2], "notes.jpeg": b"a text file called .jpeg"}
    for name, data in bad.items():
        (root / "NORMAL" / name).write_bytes(data)
    (root / "NORMAL" / "good-png.jpeg").write_bytes(encoded(pixels(100)))
    manifest = scan(root, tmp_path)
    assert {Path(r.path).name: r.reason for r in manifest.rejected} == {
        "empty.jpeg": "is empty (0 bytes); copy it again",
        "half.jpeg": "is truncated; copy it again",
        "notes.jpeg": reading.NOT_AN_IMAGE,
    }
    assert manifest.n_of_class(0) == 13


def test_a_class_without_a_readable_image_is_an_error(tmp_path: Path) -> None:
    root = folder(tmp_path / "data")
    shutil.rmtree(root / "NORMAL")
    (root / "NORMAL").mkdir()
    with pytest.raises(DataError, match=r"class `NORMAL` of .* 0 files found \(there is none\); put"):
        scan(root, tmp_path)
    for name in "ab":
        (root / "NORMAL" / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"class `NORMAL` .* 2 files found \(2 × is empty \(0 bytes\); copy it again\)"):
        scan(root, tmp_path)


def test_digest_is_of_contents_not_of_the_place(tmp_path: Path) -> None:
    root = folder(tmp_path / "here")
    first = scan(root, tmp_path)
    shutil.copytree(root, tmp_path / "there")
    assert scan(tmp_path / "there", tmp_path).digest == first.digest
    shuffled = Manifest(source="x", negative="NORMAL", positive="PNEUMONIA", records=first.records[::-1])
    assert shuffled.digest == first.digest
    write(tmp_path / "there" / "NORMAL" / "IM-0000-0000.jpeg", 77)
    assert scan(tmp_path / "there", tmp_path).digest != first.digest


def test_digest_tells_a_relabelled_image(tmp_path: Path) -> None:
    root = folder(tmp_path / "data")
    first = scan(root, tmp_path)
    (root / "NORMAL" / "IM-0000-0000.jpeg").rename(root / "PNEUMONIA" / "IM-0000-0000.jpeg")
    assert scan(root, tmp_path).digest != first.digest


def test_a_second_scan_opens_new_and_changed_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "data")
    first = scan(root, tmp_path)
    opened: list[str] = []
    look = inspection.inspect_file
    monkeypatch.setattr(
        inspection,
        "inspect_file",
        lambda path, *args, **more: opened.append(path.name) or look(path, *args, **more),
    )
    assert scan(root, tmp_path) == first
    assert opened == []
    write(root / "NORMAL" / "new.jpeg", 50)
    os.utime(root / "NORMAL" / "IM-0000-0000.jpeg", ns=(1, 1))
    (root / "NORMAL" / "IM-0000-0001.jpeg").unlink()
    assert len(scan(root, tmp_path).records) == 24
    assert sorted(opened) == ["IM-0000-0000.jpeg", "new.jpeg"]


def test_a_file_replaced_in_place_is_seen(tmp_path: Path) -> None:
    root = folder(tmp_path / "data")
    first = scan(root, tmp_path)
    file = root / "NORMAL" / "IM-0000-0000.jpeg"
    stat = file.stat()
    data = bytearray(file.read_bytes())
    data[data.index(b"\xff\xda") + 20] ^= 1  # one bit of the picture: same size
    file.write_bytes(data)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again = scan(root, tmp_path)
    assert again.digest != first.digest
    assert {record.path for record in {*again.records} - {*first.records}} == {"NORMAL/IM-0000-0000.jpeg"}


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not really", b"\x80\x04."])
def test_a_damaged_scan_cache_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    root = folder(tmp_path / "data")
    first = scan(root, tmp_path)
    for memory in (tmp_path / "cache").rglob("*.*"):
        memory.write_bytes(damage)
    assert scan(root, tmp_path) == first


def test_copies_look_the_same_across_classes(tmp_path: Path) -> None:
    root = folder(tmp_path / "data")
    write(root / "PNEUMONIA" / "copy.jpeg", 0)
    (root / "PNEUMONIA" / "converted.png").write_bytes(encoded(pixels(0)))
    looks = {record.path: record.look for record in scan(root, tmp_path).records}
    assert len({looks[f"{path}"] for path in ("NORMAL/IM-0000-0000.jpeg", "PNEUMONIA/copy.jpeg")}) == 1
    assert looks["PNEUMONIA/converted.png"] == looks["PNEUMONIA/copy.jpeg"]
    assert len(set(looks.values())) == 24


def test_class_names_are_data(tmp_path: Path) -> None:
    root = folder(tmp_path / "data")
    (root / "NORMAL").rename(root / "healthy")
    (root / "PNEUMONIA").rename(root / "Effusion")
    manifest = scan(root, tmp_path, negative="Healthy", positive="effusion")
    assert (manifest.n_of_class(0), manifest.n_of_class(1)) == (12, 12)
    with pytest.raises(DataError, match="must differ"):
        scan(root, tmp_path, negative="a", positive="A")


def test_a_manifest_travels_as_json(tmp_path: Path) -> None:
    manifest = scan(folder(tmp_path / "data"), tmp_path)
    again = codec.from_json(Manifest, json.loads(json.dumps(codec.to_json(manifest))))
    assert again == manifest
    assert again.digest == manifest.digest


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StorageError, match="can't write"):
        scan(folder(tmp_path / "data"), tmp_path)


def test_progress_counts_the_images(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    dataset.scan(folder(tmp_path / "data"), cache_dir=tmp_path / "cache", on_progress=lambda *step: seen.append(step))
    assert [step for step in seen if step[0] == "reading images"] == [("reading images", n, 24) for n in range(1, 25)]


@pytest.mark.parametrize("change", ["other", "broken", "gone"])
def test_the_reader_refuses_what_changed(tmp_path: Path, change: str) -> None:
    manifest = scan(folder(tmp_path / "data"), tmp_path)
    read, record = dataset.reader(manifest), manifest.records[0]
    assert read(record, 1, None).shape == (32, 40, 1)
    file = tmp_path / "data" / record.path
    file.unlink() if change == "gone" else file.write_bytes(encoded(pixels(9)) if change == "other" else b"x")
    with pytest.raises(DataError, match=r"changed since the scan: it .*; scan the source again"):
        read(record, 1, None)


@needs_data
def test_dicom_files_are_grouped_by_a_digest_of_the_patient(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="needs the extra `dicom`")
    root = folder(tmp_path / "data", n_of_class=2)
    shutil.copy(DATA / "dicom" / "monochrome1.dcm", root / "NORMAL" / "a.dcm")
    shutil.copy(DATA / "dicom" / "monochrome2.dcm", root / "PNEUMONIA" / "b.dcm")
    groups = [record.group for record in scan(root, tmp_path).records if record.path.endswith(".dcm")]
    assert groups[0] == groups[1]
    assert groups[0].startswith("DICOM-")
    assert "16d7f894" not in groups[0]


@needs_data
def test_a_slice_of_the_real_images(tmp_path: Path) -> None:
    for name in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for file in sorted((DATA / "chest_xray" / "train" / name).iterdir())[:30]:
            shutil.copy(file, tmp_path / "data" / name)
    manifest = scan(tmp_path / "data", tmp_path)
    assert len(manifest.records) == 60
    assert not manifest.rejected
    assert {record.kind for record in manifest.records} == {"normal", "bacteria", "virus"}
    assert len({record.group for record in manifest.records}) < 60
