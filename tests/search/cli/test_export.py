"""`pneumo export` as a user runs it."""

import json
from pathlib import Path

import pytest

from pneumo_core.bundles import exported
from tests import in_process
from tests.commands import pneumo_here
from tests.pneumo_core import made_bundles


def test_a_bundle_is_exported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # which can't write the format
    made_bundles.make(tmp_path / "b", made_bundles.CNN)
    command = ("export", "b", "--format", "tflite", "--out", "made/model")
    code, out, said = in_process.run(capsys, *command, "--json")
    assert code == 0, said
    answer = json.loads(out.splitlines()[-1])
    assert (answer["path"], answer["format"]) == ("made/model", "tflite")
    assert answer["largest_difference"] <= 1e-4
    assert exported.read_metadata(tmp_path / "made" / "model")["decision"]["threshold"] == 0.5
    assert "never overwrites" in pneumo_here(*command, folder=tmp_path, code=2).stderr


def test_wrong_use_is_told(tmp_path: Path) -> None:
    for of, message in (("onnx", "does not exist"), ("coreml", "coreml")):
        refused = pneumo_here("export", "b", "--format", of, "--out", "m", folder=tmp_path, code=2)
        assert message in refused.stderr
