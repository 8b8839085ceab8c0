import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pneumo_core.data import folders, sources
from pneumo_core.errors import DataError


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def sight(root: Path, *, follow_links: bool = False) -> sources.Sighting:
    return sources.find(root, ["NORMAL"], ["PNEUMONIA"], follow_links=follow_links)


def found(root: Path) -> list[tuple[str, int, str | None]]:
    return [(file.path, file.label, file.official_role) for file in sight(root).found]


def left_out(root: Path) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {entry.reason: (entry.n, entry.examples) for entry in sight(root).left_out}


def test_flat_layout(tmp_path: Path) -> None:
    touch(tmp_path, "PNEUMONIA/b.png", "NORMAL/deep/a.png", "other/c.png", "labels.csv")
    assert found(tmp_path) == [("NORMAL/deep/a.png", 0, None), ("PNEUMONIA/b.png", 1, None)]


def test_official_folders_and_other_cases(tmp_path: Path) -> None:
    touch(tmp_path, "train/normal/a.png", "Test/Pneumonia/b.png", "val/NORMAL/c.png", "calibration/NORMAL/d.png")
    assert found(tmp_path) == [
        ("Test/Pneumonia/b.png", 1, "test"),
        ("calibration/NORMAL/d.png", 0, "val"),
        ("train/normal/a.png", 0, "train"),
        ("val/NORMAL/c.png", 0, "val"),
    ]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *((name, "train") for name in ("train", "Training", "TRAIN_SET", "training data", " Train")),
        *((name, "val") for name in ("val", "Valid", "VALIDATION", "dev-set", "calibration")),
        *((name, "test") for name in ("Testing", "test images", "test")),
        *((name, None) for name in ("tests of mine", "trained", "NORMAL", "attest", "", "test/")),
    ],
)
def test_names_of_roles_as_people_write_them(name: str, role: str | None) -> None:
    assert sources.role_named(name) == role


def test_training_and_testing_are_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "Training/NORMAL/a.png", "Training/Pneumonia/b.png", "Testing/NORMAL/c.png")
    assert [role for _, _, role in found(tmp_path)] == ["test", "train", "train"]


def test_case_and_unicode_form_of_a_class_folder_do_not_matter(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "Lungenentzündung") for form in ("NFD", "NFC")]
    touch(tmp_path, "gesund/a.png", "Gesund/b.png", f"{names[0]}/c.png", f"{names[1]}/d.png")
    sighting = sources.find(tmp_path, ["GESUND"], [names[1].upper()])
    assert [(Path(file.path).name, file.label) for file in sighting.found] == [
        ("b.png", 0),
        ("c.png", 1),
        ("d.png", 1),
        ("a.png", 0),
    ]
    assert len(sighting.notes) == 2
    assert "read as one class: `Gesund/`, `gesund/`" in sighting.notes[0]


def test_several_folders_can_be_one_class(tmp_path: Path) -> None:
    touch(tmp_path, "Normal/images/a.png", "COVID/images/b.png", "Viral Pneumonia/images/c.png")
    sighting = sources.find(tmp_path, ["Normal"], ["COVID", "Viral Pneumonia"])
    assert [(file.kind, file.label, file.within) for file in sighting.found] == [
        ("COVID", 1, "images/b.png"),
        ("Normal", 0, "images/a.png"),
        ("Viral Pneumonia", 1, "images/c.png"),
    ]


def test_what_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "NORMAL/images/a.png", "NORMAL/masks/a.png", "NORMAL/b.png", "NORMAL/b_mask.png", "PNEUMONIA/c.png")
    touch(tmp_path, "COVID/d.png", "COVID/e.png", "masks/a.png", "stray.png", "labels.csv", "readme.txt")
    assert [path for path, _, _ in found(tmp_path)] == ["NORMAL/b.png", "NORMAL/images/a.png", "PNEUMONIA/c.png"]
    assert left_out(tmp_path) == {
        "masks beside images": (3, ("NORMAL/masks/", "NORMAL/b_mask.png", "masks/")),
        "of no class that is read (--positive or --negative 'COVID' reads it)": (2, ("COVID/",)),
        "in no class folder": (1, ("stray.png",)),
        "a table; --labels reads labels and patients from it": (1, ("labels.csv",)),
        "no image": (1, ("readme.txt",)),
    }


def test_class_folders_beside_train_are_left_out_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/NORMAL/a.png", "train/PNEUMONIA/b.png", "train/COVID/c.png", "NORMAL/d.png")
    assert len(found(tmp_path)) == 2
    assert left_out(tmp_path)["besides `train/`, `val/` and `test/`, which are read"] == (1, ("NORMAL/",))
    assert left_out(tmp_path)["of no class that is read (--positive or --negative 'COVID' reads it)"][0] == 1


def test_links_out_of_the_folder_are_read_on_request(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "NORMAL/a.png")
    touch(tmp_path / "outside", "b.png", "deep/c.png")
    (root / "PNEUMONIA").symlink_to(tmp_path / "outside")
    (root / "NORMAL" / "d.png").symlink_to(tmp_path / "outside" / "b.png")
    (tmp_path / "outside" / "loop").symlink_to(tmp_path / "outside")
    read = sight(root, follow_links=True).found
    paths = ["NORMAL/a.png", "NORMAL/d.png", "PNEUMONIA/b.png", "PNEUMONIA/deep/c.png"]
    assert [file.path for file in read] == paths
    assert all(file.entry.problem is None for file in read)


def test_litter_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "NORMAL/a.png", "NORMAL/.DS_Store", "NORMAL/._a.png", "NORMAL/Thumbs.db", "NORMAL/.cache/b.png")
    touch(tmp_path, "NORMAL/__MACOSX/a.png", "__MACOSX/NORMAL/a.png", "PNEUMONIA/b.png", "PNEUMONIA/desktop.ini")
    assert [path for path, _, _ in found(tmp_path)] == ["NORMAL/a.png", "PNEUMONIA/b.png"]


def test_what_vanishes_while_it_is_listed_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = touch(tmp_path / "root", "NORMAL/a.png", "NORMAL/gone.png", "NORMAL/gone/c.png", "PNEUMONIA/b.png")
    list_folder = os.scandir

    @contextmanager
    def listed_then_removed(folder: str) -> Iterator[Any]:
        with list_folder(folder) as entries:
            listed = list(entries)
        for name in ("gone.png", "gone"):
            if (path := Path(folder) / name).exists():
                path.rename(tmp_path / name)
        yield listed

    monkeypatch.setattr(folders.os, "scandir", listed_then_removed)
    assert [path for path, _, _ in found(root)] == ["NORMAL/a.png", "PNEUMONIA/b.png"]


def test_links_are_followed_inside_the_folder_only(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "NORMAL/a.png", "PNEUMONIA/b.png")
    touch(tmp_path, "outside.png")
    (root / "NORMAL" / "inside.png").symlink_to(root / "NORMAL" / "a.png")
    (root / "NORMAL" / "outside.png").symlink_to(tmp_path / "outside.png")
    (root / "NORMAL" / "broken.png").symlink_to(root / "nothing")
    (root / "NORMAL" / "loop").symlink_to(root / "NORMAL")
    os.mkfifo(root / "NORMAL" / "pipe.png")
    problems = {file.path: file.entry.problem for file in sight(root).found}
    assert problems == {
        "NORMAL/a.png": None,
        "NORMAL/inside.png": None,
        "NORMAL/outside.png": "is a link that leaves the folder; --follow-links reads it",
        "NORMAL/broken.png": "is a broken link; mend or remove it",
        "NORMAL/loop": "is not a regular file; leave it out",
        "NORMAL/pipe.png": "is not a regular file; leave it out",
        "PNEUMONIA/b.png": None,
    }


def test_a_source_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    touch(tmp_path / "root", "NORMAL/a.png", "PNEUMONIA/b.png")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    assert len(found(tmp_path / "link")) == 2


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["other/a.png"], "neither class folder `NORMAL` nor `PNEUMONIA`; folders there: other; name the class"),
        (["NORMAL/a.png", "PNEUMONA/b.png"], "no class folder `PNEUMONIA`; folders there: NORMAL, PNEUMONA"),
        (["train/NORMAL/a.png"], "no class folder `PNEUMONIA`; folders there: NORMAL, train"),
        (["chest_xray/train/NORMAL/a.png"], "did you mean `.*chest_xray`"),
        (["a.png"], "there are no folders in it"),
    ],
)
def test_other_layouts_are_errors_that_say_what_is_there(tmp_path: Path, paths: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        sight(touch(tmp_path, *paths))


def test_a_class_folder_that_is_a_link_out_is_not_followed(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "NORMAL/a.png")
    touch(tmp_path / "outside", "b.png")
    (root / "PNEUMONIA").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match=r"PNEUMONIA \(a link that leaves the folder; --follow-links"):
        sight(root)


def test_no_such_folder_names_those_beside_it(tmp_path: Path) -> None:
    touch(tmp_path, "chest_xray/a", "file")
    with pytest.raises(DataError, match=r"`.*/chest` does not exist; folders in .*: chest_xray"):
        sight(tmp_path / "chest")
    with pytest.raises(DataError, match="is not a folder"):
        sight(tmp_path / "file")
