import os
from pathlib import Path

import pytest

from pneumo_core.data import sources
from pneumo_core.errors import DataError


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def found(root: Path) -> list[tuple[str, int, str | None]]:
    return [(entry.path, entry.label, entry.official_role) for entry in sources.find(root, "NORMAL", "PNEUMONIA")]


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


def test_the_exact_name_wins_over_another_case(tmp_path: Path) -> None:
    touch(tmp_path, "NORMAL/a.png", "normal/b.png", "PNEUMONIA/c.png")
    assert [path for path, _, _ in found(tmp_path)] == ["NORMAL/a.png", "PNEUMONIA/c.png"]


def test_litter_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "NORMAL/a.png", "NORMAL/.DS_Store", "NORMAL/._a.png", "NORMAL/Thumbs.db", "NORMAL/.cache/b.png")
    touch(tmp_path, "NORMAL/__MACOSX/a.png", "__MACOSX/NORMAL/a.png", "PNEUMONIA/b.png", "PNEUMONIA/desktop.ini")
    assert [path for path, _, _ in found(tmp_path)] == ["NORMAL/a.png", "PNEUMONIA/b.png"]


def test_links_are_followed_inside_the_folder_only(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "NORMAL/a.png", "PNEUMONIA/b.png")
    touch(tmp_path, "outside.png")
    (root / "NORMAL" / "inside.png").symlink_to(root / "NORMAL" / "a.png")
    (root / "NORMAL" / "outside.png").symlink_to(tmp_path / "outside.png")
    (root / "NORMAL" / "broken.png").symlink_to(root / "nothing")
    (root / "NORMAL" / "loop").symlink_to(root / "NORMAL")
    os.mkfifo(root / "NORMAL" / "pipe.png")
    problems = {entry.path: entry.problem for entry in sources.find(root, "NORMAL", "PNEUMONIA")}
    assert problems == {
        "NORMAL/a.png": None,
        "NORMAL/inside.png": None,
        "NORMAL/outside.png": "is a link that leaves the folder",
        "NORMAL/broken.png": "is a broken link",
        "NORMAL/loop": "is not a regular file",
        "NORMAL/pipe.png": "is not a regular file",
        "PNEUMONIA/b.png": None,
    }


def test_a_source_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    touch(tmp_path / "root", "NORMAL/a.png", "PNEUMONIA/b.png")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    assert len(found(tmp_path / "link")) == 2


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["other/a.png"], "neither class folder `NORMAL` nor `PNEUMONIA`; folders there: other; name the two"),
        (["NORMAL/a.png", "PNEUMONA/b.png"], "no class folder `PNEUMONIA`; folders there: NORMAL, PNEUMONA"),
        (["train/NORMAL/a.png"], "no class folder `PNEUMONIA`; folders there: NORMAL, train"),
        (["chest_xray/train/NORMAL/a.png"], "did you mean `.*chest_xray`"),
        (["a.png"], "there are no folders in it"),
    ],
)
def test_other_layouts_are_errors_that_say_what_is_there(tmp_path: Path, paths: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        sources.find(touch(tmp_path, *paths), "NORMAL", "PNEUMONIA")


def test_a_class_folder_that_is_a_link_out_is_not_followed(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "NORMAL/a.png")
    touch(tmp_path / "outside", "b.png")
    (root / "PNEUMONIA").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match=r"PNEUMONIA \(a link that leaves the folder\)"):
        sources.find(root, "NORMAL", "PNEUMONIA")


def test_no_such_folder_names_those_beside_it(tmp_path: Path) -> None:
    touch(tmp_path, "chest_xray/a", "file")
    with pytest.raises(DataError, match=r"`.*/chest` does not exist; folders in .*: chest_xray"):
        sources.find(tmp_path / "chest", "NORMAL", "PNEUMONIA")
    with pytest.raises(DataError, match="is not a folder"):
        sources.find(tmp_path / "file", "NORMAL", "PNEUMONIA")
