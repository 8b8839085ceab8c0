"""`pneumo export` as a user runs it."""

from pathlib import Path

from pneumo_core.bundles import exported
from tests.commands import last_json, pneumo, pneumo_here
from tests.pneumo_core import made_bundles


def test_a_bundle_is_exported_once(tmp_path: Path) -> None:
    made_bundles.make(tmp_path / "b", made_bundles.CNN)
    command = ("export", "b", "--format", "saved_model", "--out", "made/model")
    answer = last_json(pneumo(*command, "--json", folder=tmp_path, KERAS_BACKEND="jax"))
    assert (answer["path"], answer["format"]) == ("made/model", "saved_model")
    assert answer["largest_difference"] <= 1e-4
    assert exported.read_metadata(tmp_path / "made" / "model")["decision"]["threshold"] == 0.5
    assert "never overwrites" in pneumo_here(*command, folder=tmp_path, code=2).stderr


def test_wrong_use_is_told(tmp_path: Path) -> None:
    for of, message in (("onnx", "does not exist"), ("coreml", "coreml")):
        refused = pneumo_here("export", "b", "--format", of, "--out", "m", folder=tmp_path, code=2)
        assert message in refused.stderr
