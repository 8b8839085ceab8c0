"""Baselines learn what they may look at, and nothing else."""

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from pneumo_core.scoring import baselines, metrics
from pneumo_core.scoring.baselines import FileFacts


@dataclass(frozen=True)
class File:
    width_px: int = 1000
    height_px: int = 800
    mode: str = "L"
    n_bytes: int = 100_000


def images(n: int, seed: int, size_px: int = 48, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Noise; positives have a brighter upper half."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = rng.integers(0, 200, (n, size_px, size_px, channels))
    x[:, : size_px // 2] += 10 * y[:, None, None, None]
    return x.astype(np.uint8), y


def files(n: int, seed: int) -> tuple[list[FileFacts], np.ndarray]:
    """Widths of every size; positives are saved with less compression, negatives sometimes in colour."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return [
        File(
            width_px=int(rng.integers(800, 2000)),
            mode="RGB" if not label and rng.uniform() < 0.3 else "L",
            n_bytes=int(rng.integers(90_000, 200_000)) + 60_000 * int(label),
        )
        for label in y
    ], y


def test_always_positive_calls_everyone_positive() -> None:
    scores = baselines.always_positive(3)
    assert metrics.confusion([0, 1, 1], scores, 0.5).recall == 1
    assert metrics.auc([0, 1, 1], scores) == 0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_the_linear_model_finds_a_difference_in_brightness(channels: int) -> None:
    x_train, y_train = images(300, seed=0, channels=channels)
    x, y = images(200, seed=1, channels=channels)
    scores = baselines.linear_on_thumbnails(x_train, y_train, x)
    assert scores.shape == (200,)
    assert 0 <= scores.min() < scores.max() <= 1
    assert metrics.auc(y, scores) > 0.9
    assert np.array_equal(scores, baselines.linear_on_thumbnails(x_train, y_train, x))


def test_the_metadata_model_finds_a_shortcut_in_the_files() -> None:
    train, y_train = files(400, seed=0)
    records, y = files(200, seed=1)
    scores = baselines.metadata_only(train, y_train, records)
    assert scores.shape == (200,)
    assert metrics.auc(y, scores) > 0.8
    assert np.array_equal(scores, baselines.metadata_only(train, y_train, records))


def test_files_that_are_all_alike_say_nothing() -> None:
    y = np.repeat([0, 1], [30, 60])
    scores = baselines.metadata_only([File()] * 90, y, [File()] * 5)
    assert scores == pytest.approx(np.full(5, 2 / 3), abs=1e-6)


def test_a_mode_that_train_never_showed_is_no_mode_it_knows() -> None:
    assert baselines.metadata([File(mode="I;16")], ["L", "RGB"])[0, 4:].tolist() == [0, 0]
    assert baselines.metadata([File(mode="RGB")], ["L", "RGB"])[0].tolist() == [1000, 800, 1.25, 0.125, 0, 1]


@pytest.mark.parametrize("size_px", [24, 48, 96])
def test_thumbnails_equal_pillows_box_filter(size_px: int) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, size_px, size_px, 1)).astype(np.uint8)
    found = baselines.thumbnails(x).reshape(2, 24, 24)
    for image, thumbnail in zip(x[..., 0], found, strict=True):
        expected = Image.fromarray(image.astype(np.float32)).resize((24, 24), Image.Resampling.BOX)
        assert thumbnail * 255 == pytest.approx(np.asarray(expected), abs=1e-3)


@pytest.mark.parametrize("shape", [(3, 10, 17, 1), (3, 50, 31, 3), (600, 25, 24, 1)])
def test_thumbnails_keep_the_mean_of_any_shape(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    found = baselines.thumbnails(x)
    assert found.shape == (shape[0], 576)
    assert found.mean(axis=1) == pytest.approx(x.mean(axis=(1, 2, 3)) / 255)


def test_no_image_gives_no_thumbnail() -> None:
    assert baselines.thumbnails(np.empty((0, 24, 24, 1), np.uint8)).shape == (0, 576)


def test_unusable_training_data_is_refused() -> None:
    x, _ = images(4, seed=0)
    with pytest.raises(ValueError, match="both classes, got 4 positives of 4"):
        baselines.linear_on_thumbnails(x, np.ones(4), x)
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        baselines.linear_on_thumbnails(x, [0, 1], x)
    with pytest.raises(ValueError, match=r"\(n, h, w, c\), got \(4, 48, 48\)"):
        baselines.linear_on_thumbnails(x[..., 0], [0, 1, 0, 1], x)
