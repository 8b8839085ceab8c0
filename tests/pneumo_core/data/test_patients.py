import pytest

from pneumo_core.data.patients import group_and_kind


@pytest.mark.parametrize(
    ("path", "group", "kind"),
    [
        ("train/PNEUMONIA/person1000_bacteria_2931.jpeg", "bacteria-1000", "bacteria"),
        ("test/PNEUMONIA/person1000_virus_1681.jpeg", "virus-1000", "virus"),
        ("PNEUMONIA/person1_virus_6_1.jpeg", "virus-1", "virus"),
        ("NORMAL/IM-0115-0001.jpeg", "IM-0115", "normal"),
        ("NORMAL/IM-0115-0001-0002.jpeg", "IM-0115", "normal"),
        ("NORMAL/NORMAL2-IM-0381-0001.jpeg", "NORMAL2-IM-0381", "normal"),
        ("sick/00000001_000.png", "NIH-00000001", "sick"),
        ("sick/scan.v2.png", "sick/scan.v2.png", "sick"),
    ],
)
def test_file_names_tell_the_patient(path: str, group: str, kind: str) -> None:
    assert group_and_kind(path, "sick") == (group, kind)
