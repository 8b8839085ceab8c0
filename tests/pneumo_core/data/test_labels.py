from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pneumo_core.data import dataset
from pneumo_core.data.manifest import Manifest
from pneumo_core.data.source_spec import LabelTable, SourceSpec
from pneumo_core.errors import DataError
from tests.pneumo_core.pictures import write


def table(root: Path, text: str, name: str = "labels.csv") -> str:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, "utf-8")
    return name


def images(root: Path, paths: Sequence[str]) -> Path:
    for seed, path in enumerate(paths):
        write(root / path, seed)
    return root


def scan(root: Path, text: str, *, columns: dict[str, Any] | None = None, **options: Any) -> Manifest:
    labels = LabelTable(file=table(root, text), **(columns or {}))
    return dataset.scan(SourceSpec(source=str(root), labels=labels, **options), cache_dir=root.parent / "cache")


def labels_of(manifest: Manifest) -> dict[str, int]:
    return {record.path: record.label for record in manifest.records}


def left_out(manifest: Manifest) -> dict[str, tuple[int, str, tuple[str, ...]]]:
    return {entry.reason: (entry.n, entry.what, entry.examples) for entry in manifest.left_out}


def test_nih(tmp_path: Path) -> None:
    names = ["00000001_000.png", "00000001_001.png", "00000002_000.png", "00000003_000.png"]
    root = images(tmp_path / "nih", [f"images_{i:03d}/images/{name}" for i, name in enumerate(names)])
    manifest = scan(
        root,
        "Image Index,Finding Labels,Follow-up #,Patient ID\n"
        "00000001_000.png,No Finding,0,1\n00000001_001.png,Infiltration|Pneumonia,1,1\n"
        "00000002_000.png,Effusion,0,2\n00000003_000.png,No Finding,0,3\n00000004_000.png,Pneumonia,0,4\n",
    )
    assert labels_of(manifest) == {
        "images_000/images/00000001_000.png": 0,
        "images_001/images/00000001_001.png": 1,
        "images_003/images/00000003_000.png": 0,
    }
    assert (manifest.negative, manifest.positive) == ("No Finding", "Pneumonia")
    assert manifest.patients == "column `Patient ID`"
    assert len({record.group for record in manifest.records}) == 2
    assert left_out(manifest) == {
        "whose image is not there": (1, "rows", ("00000004_000.png",)),
        "with a value of neither class in `Finding Labels`": (
            1,
            "files",
            ("images_002/images/00000002_000.png (Effusion)",),
        ),
    }


def test_rsna_has_a_row_for_each_box(tmp_path: Path) -> None:
    root = images(tmp_path / "rsna", [f"stage_2_train_images/{name}.png" for name in ("aa", "bb", "cc")])
    manifest = scan(root, "patientId,x,y,width,height,Target\naa,,,,,0\nbb,1.0,1,5,5,1\nbb,9.0,9,5,5,1\ncc,,,,,0\n")
    assert labels_of(manifest) == {f"stage_2_train_images/{name}.png": name == "bb" for name in ("aa", "bb", "cc")}
    assert manifest.n_unknown_patients == 0


CHEXPERT = "Path,Sex,No Finding,Pneumonia\n" + "".join(
    f"CheXpert-v1.0-small/train/patient0000{i}/study1/view1_frontal.jpg,Male,,{value}\n"
    for i, value in enumerate(("1.0", "0.0", "-1.0", "", "1.0"))
)


@pytest.mark.parametrize(
    ("uncertain", "blank", "n"), [("leave_out", "leave_out", (1, 2)), ("positive", "negative", (2, 3))]
)
def test_chexpert_policies(tmp_path: Path, uncertain: str, blank: str, n: tuple[int, int]) -> None:
    root = images(tmp_path / "c", [f"train/patient0000{i}/study1/view1_frontal.jpg" for i in range(5)])
    manifest = scan(root, CHEXPERT, columns={"uncertain": uncertain, "blank": blank})
    assert (manifest.n_of_class(0), manifest.n_of_class(1)) == n
    assert manifest.patients == "the folder of each image"
    assert f"uncertain labels: {uncertain.replace('_', ' ')}" in manifest.notes[0]


def test_chexpert_without_a_policy_is_refused(tmp_path: Path) -> None:
    root = images(tmp_path / "c", [f"train/patient0000{i}/study1/view1_frontal.jpg" for i in range(5)])
    with pytest.raises(DataError, match=r"−1, uncertain, in 1 of 5 rows .* --uncertain leave_out, negative or"):
        scan(root, CHEXPERT)
    with pytest.raises(DataError, match=r"blank, not mentioned, in 1 of 5 rows .* --blank leave_out, negative or"):
        scan(root, CHEXPERT, columns={"uncertain": "leave_out"})


def test_the_covid_19_radiography_database(tmp_path: Path) -> None:
    root = images(
        tmp_path / "covid",
        [
            f"{name}/{kind}/{name}-{i}.png"
            for name in ("COVID", "Normal", "Viral Pneumonia", "Lung_Opacity")
            for kind in ("images", "masks")
            for i in range(2)
        ],
    )
    manifest = dataset.scan(SourceSpec(source=str(root), layout="covid19_radiography"), cache_dir=tmp_path / "cache")
    assert (manifest.n_of_class(0), manifest.n_of_class(1)) == (2, 4)
    assert (manifest.negative, manifest.positive) == ("Normal", "COVID + Viral Pneumonia")
    assert {record.kind for record in manifest.records} == {"COVID", "Normal", "Viral Pneumonia"}
    assert left_out(manifest)["masks beside images"][0] == 6
    again = SourceSpec(source=str(root), negative=manifest.negative, positive=manifest.positive)
    assert dataset.scan(again, cache_dir=tmp_path / "cache") == manifest


def test_columns_and_values_of_ones_own(tmp_path: Path) -> None:
    root = images(tmp_path / "own", ["a.png", "b.png", "c.png", "deep/d.png"])
    text = (
        "Datei;Befund;Fall;Teil\na.png;gesund;7;train\nb.png;krank;7;train\nc;fraglich;8;test\ndeep/d;GESUND;9;test\n"
    )
    with pytest.raises(DataError, match=r"which column of .* names the image"):
        scan(root, text)
    columns = {"image": "Datei", "label": "Befund", "patient": "fall", "split": "Teil"}
    manifest = scan(root, text, columns=columns, negative="Gesund", positive=("krank", "fraglich"))
    assert labels_of(manifest) == {"a.png": 0, "b.png": 1, "c.png": 1, "deep/d.png": 0}
    assert [record.official_role for record in manifest.records] == ["train", "train", "test", "test"]
    assert len({record.group for record in manifest.records}) == 3
    with pytest.raises(DataError, match="no column `Fal`; it has Datei, Befund, Fall, Teil"):
        scan(root, text, columns=columns | {"patient": "Fal"})


@pytest.mark.parametrize("values", [("0", "1"), ("0.0", "1.0"), ("normal", "Pneumonia")])
def test_usual_columns_and_values(tmp_path: Path, values: tuple[str, str]) -> None:
    root = images(tmp_path / "own", ["a.png", "b.png"])
    manifest = scan(root, f"filename,label,subject_id\na.png,{values[0]},1\nb.png,{values[1]},2\n")
    assert labels_of(manifest) == {"a.png": 0, "b.png": 1}
    assert (manifest.negative, manifest.positive) == ("NORMAL", "PNEUMONIA")
    assert manifest.patients == "column `subject_id`"


def test_everything_else_can_be_negative(tmp_path: Path) -> None:
    root = images(tmp_path / "own", ["a.png", "b.png", "c.png"])
    manifest = scan(root, "file,finding\na.png,Effusion\nb.png,Pneumonia\nc.png,\n", negative="*", positive="Pneumonia")
    assert labels_of(manifest) == {"a.png": 0, "b.png": 1}
    assert manifest.negative == "not Pneumonia"
    assert left_out(manifest)["with a blank label"] == (1, "files", ("c.png (blank)",))


def test_what_does_not_fit_is_counted_and_named(tmp_path: Path) -> None:
    root = images(tmp_path / "own", ["x/a.png", "y/a.png", "b.png", "c.png", "d.png", "e.png"])
    manifest = scan(root, "image,label\na.png,0\nb.png,0\nb.png,1\nc.png,0\nd.png,1\ngone.png,1\n")
    assert labels_of(manifest) == {"c.png": 0, "d.png": 1}
    assert left_out(manifest) == {
        "without a row in the table": (3, "files", ("e.png", "x/a.png", "y/a.png")),
        "under two labels": (1, "files", ("b.png (0, 1)",)),
        "whose name fits several files": (1, "rows", ("a.png",)),
        "whose image is not there": (1, "rows", ("gone.png",)),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no row"),
        ("image,label\n", "has no row"),
        (
            "image,label\nelsewhere.png,1\n",
            r"no row of .* names an image .* elsewhere.png, ...; .* a.png, b.png",
        ),
        (
            "image,label\na.png,x\nb.png,1\n",
            r"class `NORMAL` .* 1 files left out, with a value of neither class",
        ),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    root = images(tmp_path / "own", ["a.png", "b.png"])
    with pytest.raises(DataError, match=message):
        scan(root, text)


def test_a_table_that_is_no_text(tmp_path: Path) -> None:
    root = images(tmp_path / "own", ["a.png"])
    (root / "labels.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\n\n")
    with pytest.raises(DataError, match="is no text; save it as CSV, in UTF-8"):
        dataset.scan(SourceSpec(source=str(root), labels=LabelTable(file="labels.csv")), cache_dir=tmp_path)
    with pytest.raises(DataError, match="neither there nor in"):
        dataset.scan(SourceSpec(source=str(root), labels=LabelTable(file="none.csv")), cache_dir=tmp_path)


def test_a_source_spec_says_what_is_impossible() -> None:
    with pytest.raises(ValueError, match="must differ, got 'a' for both"):
        SourceSpec(negative=("b", "a"), positive=("c", "a"))
    with pytest.raises(ValueError, match=r"must be one of auto, dicom, .* or a regular expression, got '\(': "):
        SourceSpec(patient="(")
    with pytest.raises(ValueError, match="`uncertain` must be one of leave_out"):
        LabelTable(file="x.csv", uncertain="maybe")  # type: ignore[arg-type]
