"""Labels of the known tables through the whole program: check, launch, finalize, predict."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumo_core.data import phantom
from tests.commands import last_json, pneumo

N_PATIENTS = 20  # a class, of two images each

STUDY = """
from pneumo_core.specs import CnnSpec, DataSpec, ObjectiveSpec, TrainSpec, TrialSpec
from studies.spec import BudgetSpec, StudySpec

def space(suggest):
    return TrialSpec(
        data=DataSpec(image_size_px=16),
        model=CnnSpec(filters=(suggest.suggest_int("filters", 2, 4),), head="average"),
        train=TrainSpec(epochs=1, batch_size=16),
    )

STUDY = StudySpec(
    name="tiny", space=space, budget=BudgetSpec(trials=1),
    objective=ObjectiveSpec(fnr_ceiling=0.9, specificity_floor=0.0),
)
"""


def nih(patient: int, view: int, ill: bool) -> tuple[str, str]:
    name = f"{patient:08d}_{view:03d}.png"
    return f"images_001/images/{name}", f"{name},{'Mass|Pneumonia' if ill else 'No Finding'},{view},{patient}"


def rsna(patient: int, view: int, ill: bool) -> tuple[str, str]:
    name = f"{patient:04d}{view}abc"
    return f"stage_2_train_images/{name}.png", f"{name},,,,,{int(ill)}"


def chexpert(patient: int, view: int, ill: bool) -> tuple[str, str]:
    path = f"train/patient{patient:05d}/study1/view{view}_frontal.jpg"
    return path, f"CheXpert-v1.0-small/{path},Male,{'1.0' if ill else ''}"


LAYOUTS = {
    "nih": ("Image Index,Finding Labels,Follow-up #,Patient ID", nih, ()),
    "rsna": ("patientId,x,y,width,height,Target", rsna, ()),
    "chexpert": ("Path,Sex,Pneumonia", chexpert, ("--uncertain", "leave_out", "--blank", "negative")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_table_of_labels_from_check_to_predict(layout: str, tmp_path: Path) -> None:
    columns, name, options = LAYOUTS[layout]
    rows = [columns]
    for patient in range(1, 2 * N_PATIENTS + 1):
        for view in range(2):
            path, row = name(patient, view, patient % 2 == 1)
            rows.append(row)
            (tmp_path / "images" / path).parent.mkdir(parents=True, exist_ok=True)
            pixels = phantom.draw((0, patient), (1, patient, view), patient % 2 == 1, 32)
            Image.fromarray(np.asarray(pixels)).save(tmp_path / "images" / path)
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "tiny.py").write_text(STUDY)
    labels = ("--labels", "labels.csv", *options)
    found = last_json(pneumo("data", "check", "images", *labels, "--json", folder=tmp_path))
    assert sum(found["classes"].values()) == 4 * N_PATIENTS
    assert any(note.startswith("patients are known by ") for note in found["notes"])
    pneumo("launch", "tiny.py", "--data", "images", *labels, folder=tmp_path)
    pneumo("finalize", "tiny.py", "--data", "images", "--out", "bundle", folder=tmp_path)
    assert (tmp_path / "bundle" / "bundle.json").is_file()
    scored = json.loads(pneumo("predict", "bundle", "images", "--json", folder=tmp_path).stdout.splitlines()[-1])
    assert len(scored) == 4 * N_PATIENTS
    assert all("score" in row for row in scored)
