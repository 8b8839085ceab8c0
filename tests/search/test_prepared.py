"""A study's images, from its source to its arrays."""

from pathlib import Path
from typing import Any

import pytest

from pneumo_core.data import preprocess, reading
from pneumo_core.specs import DataSpec
from search.home import Home
from search.prepared import read_source
from studies.spec import SourceSpec
from tests import in_process
from tests.commands import write_study

Capture = pytest.CaptureFixture[str]

WANTED = [DataSpec(image_size_px=16), DataSpec(image_size_px=24, resize="pad")]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows with each image that is decoded."""
    seen, decode = list[Any](), reading.decode_noted
    monkeypatch.setattr(reading, "decode_noted", lambda *args, **more: seen.append(1) or decode(*args, **more))
    return seen


def test_arrays_that_a_study_wants_are_made_of_what_the_scan_decoded(
    phantoms: Path, tmp_path: Path, decoded: list[Any]
) -> None:
    prepared = read_source(SourceSpec(source=str(phantoms)), Home(tmp_path), wanted=WANTED)
    folders = [prepared.arrays_for(data) for data in WANTED]

    assert len(decoded) == len(prepared.manifest.records)
    assert all(preprocess.is_whole(folder) for folder in folders)
    assert not any(prepared.scanned.rows(data) for data in WANTED)  # their room is given back


def test_a_first_launch_decodes_each_image_once(
    phantoms: Path, tmp_path: Path, decoded: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    study = write_study(tmp_path)
    with in_process.answering(monkeypatch):
        code, *_ = in_process.run(
            capsys, "launch", study, "--data", phantoms, "--home", tmp_path / "runs", "--trials", 1
        )

    assert code in (0, 3)
    assert len(decoded) == len(list(phantoms.rglob("*.png")))
