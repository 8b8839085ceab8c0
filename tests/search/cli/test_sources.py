"""DICOM folders and MedMNIST files through the commands, as a user gives them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import in_process
from tests.commands import ROOT, last_json, pneumo_here, write_study
from tests.pneumo_core import made_bundles

CLASSES = ("NORMAL", "PNEUMONIA")
SAMPLES = ROOT.parent / "shared" / "data" / "dicom"


def dicom_folder(phantoms: Path, folder: Path) -> Path:
    """Write every other phantom as DICOM of 12 bits, the ill ones inverted; a patient has two images. Returns it."""
    pytest.importorskip("pydicom", reason="needs the extra `dicom`")
    from tests.pneumo_core.data.test_dicom import image

    for label, photometric in zip(CLASSES, ("MONOCHROME2", "MONOCHROME1"), strict=True):
        (folder / label).mkdir(parents=True)
        for i, file in enumerate(sorted(phantoms.rglob(f"{label}/*.png"))[::2]):
            grey = np.asarray(Image.open(file).convert("L"), np.uint16) * 16
            stored = 4095 - grey if photometric == "MONOCHROME1" else grey
            facts = {"PatientID": f"SECRET-{label[0]}{i // 2:03}", "BitsStored": 12, "HighBit": 11}
            data = image(stored, PhotometricInterpretation=photometric, **facts)
            (folder / label / f"{i}.dcm").write_bytes(data)
    return folder


def medmnist_file(phantoms: Path, file: Path) -> Path:
    """Write the phantoms as a MedMNIST file. Returns it."""
    arrays: dict[str, np.ndarray] = {}
    for i, role in enumerate(("train", "train", "val", "test")):
        found = [(path, y) for y, name in enumerate(CLASSES) for path in sorted(phantoms.rglob(f"{name}/*.png"))[i::4]]
        images = np.stack([np.asarray(Image.open(path).convert("L")) for path, _ in found])
        labels = np.array([[y] for _, y in found], np.uint8)
        for kind, part in (("images", images), ("labels", labels)):
            name = f"{role}_{kind}"
            arrays[name] = np.concatenate([arrays[name], part]) if name in arrays else part
    np.savez(file, **arrays)
    return file


def described(phantoms: Path, share: int) -> str:
    normal, ill = (len(list(phantoms.rglob(f"{name}/*.png"))) // share for name in CLASSES)
    return f"{normal} NORMAL, {ill} PNEUMONIA images"


def launch(source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Return all that a search of `source` says; its trials are made up, its arrays are not."""
    with in_process.answering(monkeypatch):
        arguments = (write_study(folder), "--data", source, "--trials", 1, "--home", folder / "runs")
        _, out, said = in_process.run(capsys, "launch", *arguments)
    return out + said


def test_a_folder_of_dicom_files_is_checked_searched_evaluated_and_predicted(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = dicom_folder(phantoms, tmp_path / "scans")
    made_bundles.make(tmp_path / "b", made_bundles.CNN)
    n = len(list(source.rglob("*.dcm")))

    checked = pneumo_here("data", "check", source, folder=tmp_path)
    launched = launch(source, tmp_path, monkeypatch, capsys)
    evaluated = last_json(pneumo_here("evaluate", "b", source, "--json", folder=tmp_path))
    samples = sorted(SAMPLES.glob("*.dcm")) or sorted(source.rglob("*.dcm"))[:2]
    predicted = last_json(pneumo_here("predict", "b", *samples, "--heatmaps", "maps", "--json", folder=tmp_path))

    assert described(phantoms, share=2) in checked.stdout
    assert "1 complete" in launched
    assert evaluated["n"] == n
    assert all(0 <= row["score"] <= 1 and Path(tmp_path, row["heatmap"]).is_file() for row in predicted)
    assert len(predicted) == 2
    assert "SECRET" not in checked.stdout + checked.stderr + launched


def test_a_medmnist_file_is_checked_searched_and_evaluated(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = medmnist_file(phantoms, tmp_path / "pneumoniamnist_32.npz")
    made_bundles.make(tmp_path / "b", made_bundles.CNN)

    checked = pneumo_here("data", "check", source, folder=tmp_path)
    launched = launch(source, tmp_path, monkeypatch, capsys)
    evaluated = last_json(pneumo_here("evaluate", "b", source, "--json", folder=tmp_path))

    assert described(phantoms, share=1) in checked.stdout
    assert "1 complete" in launched
    assert evaluated["n"] == 240
