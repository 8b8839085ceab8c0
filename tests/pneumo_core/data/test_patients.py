import pytest

from pneumo_core.data.folders import Entry
from pneumo_core.data.patients import Patients, assign
from pneumo_core.data.sources import Found
from pneumo_core.errors import DataError


def file(path: str, patient: str = "") -> Found:
    entry = Entry(path=path, size=1, mtime_ns=1)
    within = path.partition("/")[2]
    return Found(entry=entry, label=0, official_role=None, kind="sick", within=within, patient=patient)


def whose(
    paths: list[str], rule: str = "auto", dicom: list[str] | None = None, column: list[str] | None = None
) -> Patients:
    files = [file(path, patient) for path, patient in zip(paths, column or [""] * len(paths), strict=True)]
    return assign(files, dicom or [""] * len(paths), "Patient ID" if column else None, rule)


KAGGLE = {
    "PNEUMONIA/person1000_bacteria_2931.jpeg": ("bacteria-1000", "bacteria"),
    "PNEUMONIA/person1000_virus_1681.jpeg": ("virus-1000", "virus"),
    "PNEUMONIA/person1_virus_6_1.jpeg": ("virus-1", "virus"),
    "NORMAL/IM-0115-0001.jpeg": ("IM-0115", "normal"),
    "NORMAL/IM-0115-0001-0002.jpeg": ("IM-0115", "normal"),
    "NORMAL/NORMAL2-IM-0381-0001.jpeg": ("NORMAL2-IM-0381", "normal"),
}


def test_names_of_the_kaggle_archive() -> None:
    found = whose(list(KAGGLE))
    assert list(zip(found.groups, found.kinds, strict=True)) == list(KAGGLE.values())
    assert found.how == "file names of the Kaggle archive"


def test_names_count_only_where_the_whole_source_follows_them() -> None:
    paths = [*KAGGLE, "NORMAL/scan.png"]
    found = whose(paths)
    assert list(found.groups) == paths
    assert set(found.kinds) == {"sick"}
    assert found.how == ""
    assert "6 of 7 file names look like those of a known archive, not all (`NORMAL/scan.png`" in found.notes[0]


@pytest.mark.parametrize("name", ["20240110_000.png", "IM-0001-0001.png", "scan.v2.png"])
def test_other_names_tell_no_patient(name: str) -> None:
    paths = [f"sick/{index}/{name}" for index in range(3)]
    assert list(whose(paths).groups) == paths


def test_names_of_nih() -> None:
    assert whose(["sick/00000001_000.png", "well/00030805_011.png"]).groups == ("NIH-00000001", "NIH-00030805")


@pytest.mark.parametrize(
    "folders",
    [
        [f"patient_{index}/IM-0001-000" for index in range(4)],
        [f"CheXpert/train/patient0000{index}/study1/view" for index in range(4)],
        [f"p10/p1000003{index}/s5041426/scan" for index in range(4)],
        [f"{index:03d}-A/scan" for index in range(12)],
    ],
)
def test_a_folder_per_patient(folders: list[str]) -> None:
    found = whose([f"sick/{folder}{view}.png" for folder in folders for view in range(2)])
    assert found.how == "the folder of each image"
    assert len(set(found.groups)) == len(folders)
    assert found.groups[0] == found.groups[1]


@pytest.mark.parametrize("folders", [["images"], ["batch_1", "batch_2"], [f"images_{i:03d}" for i in range(12)]])
def test_other_folders_are_no_patients(folders: list[str]) -> None:
    assert whose([f"sick/{folder}/{i}.png" for folder in folders for i in range(3)]).how == ""


def test_a_folder_is_a_patient_where_the_user_says_so() -> None:
    assert whose(["sick/batch_1/a.png", "sick/batch_2/b.png"], "folder").groups == ("batch_1", "batch_2")


def test_dicom_patients_unless_one_value_stands_for_all() -> None:
    paths = [f"sick/{index}.dcm" for index in range(4)]
    assert whose(paths, dicom=["a", "a", "b", "c"]).groups == ("DICOM-a", "DICOM-a", "DICOM-b", "DICOM-c")
    one = whose(paths, dicom=["a"] * 4)
    assert list(one.groups) == paths
    assert "PatientID has one value in 4 of 4 files" in one.notes[0]
    assert set(whose(paths, "dicom", dicom=["a"] * 4).groups) == {"DICOM-a"}
    assert list(whose(paths, "none", dicom=["a", "a", "b", "c"]).groups) == paths


def test_a_placeholder_among_many_dicom_patients() -> None:
    found = whose([f"sick/{index}.dcm" for index in range(30)], dicom=["anonymous"] * 20 + [f"{i}" for i in range(10)])
    assert found.how == "DICOM's PatientID"
    assert sum(group.startswith("sick/") for group in found.groups) == 20


def test_a_column_comes_first_and_is_not_shown() -> None:
    found = whose(["sick/patient1/a.png", "sick/patient1/b.png", "sick/patient2/c.png"], column=["12345", "12345", ""])
    assert found.groups[0] == found.groups[1]
    assert "12345" not in "".join(found.groups)
    assert found.groups[2] == "patient2"
    assert found.how == "column `Patient ID`, then the folder of each image"


def test_an_expression() -> None:
    found = whose(["sick/AB-1.png", "sick/AB-2.png", "sick/CD-1.png", "sick/x.png"], r"([A-Z]+)-\d")
    assert found.groups == ("AB", "AB", "CD", "sick/x.png")
    with pytest.raises(DataError, match=r"fits no path, such as `sick/AB-1.png`"):
        whose(["sick/AB-1.png"], r"subject\d")
