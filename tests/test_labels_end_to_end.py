"""Labels of the known tables through the whole program: check, launch, finalize, predict."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumo_core.data import phantom
from search.executors.devices import Machine
from tests import in_process

N_PATIENTS = 20  # a class, of two images each

STUDY = """
from pneumo_core.specs import CnnSpec, DataSpec, ObjectiveSpec, TrainSpec, TrialSpec
from studies.spec import BudgetSpec, StudySpec

def space(suggest):
    return TrialSpec(
        data=DataSpec(image_size_px=16),
        model=CnnSpec(filters=(suggest.suggest_int("filters", 8, 12),), head="average"),
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


def write(folder: Path, layout: str) -> tuple[str, ...]:
    """Write images, their table and a study into `folder`; return the options that name the labels."""
    columns, name, options = LAYOUTS[layout]
    rows = [columns]
    for patient in range(1, 2 * N_PATIENTS + 1):
        for view in range(2):
            path, row = name(patient, view, patient % 2 == 1)
            rows.append(row)
            (folder / "images" / path).parent.mkdir(parents=True, exist_ok=True)
            pixels = phantom.draw((0, patient), (1, patient, view), patient % 2 == 1, 32)
            Image.fromarray(np.asarray(pixels)).save(folder / "images" / path)
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    (folder / "tiny.py").write_text(STUDY)
    return ("--labels", "labels.csv", *options)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_table_of_labels_is_checked_trained_on_finalized_and_predicted(
    layout: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = write(tmp_path, layout)
    monkeypatch.chdir(tmp_path)
    with (
        in_process.everything(),
        pytest.MonkeyPatch.context() as patch,  # undone before `everything` is, which patches the same names
        in_process.answering(patch, lambda: in_process.training(Machine(device="cpu"), tmp_path)),
    ):
        home = ("--home", tmp_path / "runs")
        _, out, _ = in_process.run(capsys, "data", "check", "images", *labels, *home, "--json")
        launched = in_process.run(capsys, "launch", "tiny.py", "--data", "images", *labels, *home)
        finalized = in_process.run(capsys, "finalize", "tiny.py", "--data", "images", *home, "--out", "bundle")
        predicted = in_process.run(capsys, "predict", "bundle", "images", "--json")
    found = json.loads(out.splitlines()[-1])
    assert sum(found["classes"].values()) == 4 * N_PATIENTS
    assert any(note.startswith("patients are known by ") for note in found["notes"])
    assert [code for code, *_ in (launched, finalized, predicted)] == [0, 0, 0], (launched, finalized, predicted)
    scored = json.loads(predicted[1].splitlines()[-1])
    assert len(scored) == 4 * N_PATIENTS
    assert all(0 <= row["score"] <= 1 for row in scored)
