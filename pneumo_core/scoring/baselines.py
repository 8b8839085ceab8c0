"""Trivial baselines that every model must beat, each a function from the train role to scores of another role.

A deep model that isn't clearly better than a linear one on thumbnails has learnt brightness and framing. One that
isn't better than file metadata may have learnt which machine or export wrote the file.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pneumo_core.parallel import one_thread
from pneumo_core.scoring.metrics import Bools, Floats

Images = npt.NDArray[np.uint8]

THUMBNAIL_SIZE_PX = 24
# scikit-learn's C. Validation AUC on the 5,216 Kaggle X-rays, patients apart: 0.987 at 0.001, 0.990 at 0.01 and 0.1,
# 0.988 at 1: the pull to zero matters little, and a strong one converges sooner.
REGULARIZATION = 0.01
CHUNK = 512  # images converted to float at a time: the arrays may be memory maps larger than memory


class FileFacts(Protocol):
    """What a file says before its pixels are looked at; `manifest.ImageRecord` satisfies it."""

    @property
    def width_px(self) -> int: ...
    @property
    def height_px(self) -> int: ...
    @property
    def mode(self) -> str: ...
    @property
    def n_bytes(self) -> int: ...


class Classifier(Protocol):
    """The part of a scikit-learn classifier that is used here."""

    def fit(self, x: Floats, y: Bools) -> object: ...
    def predict_proba(self, x: Floats) -> Floats: ...


def always_positive(n: int) -> Floats:
    """Return the scores (n,) of a model that calls everyone positive."""
    return np.ones(n)


def linear_on_thumbnails(x_train: Images, y_train: npt.ArrayLike, x: Images) -> Floats:
    """Fit logistic regression on 24 × 24 grey thumbnails of `x_train` (n, h, w, c) and score `x` (m, h, w, c)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARIZATION, max_iter=1000))
    return _fit_and_score(model, thumbnails(x_train), y_train, thumbnails(x))


def metadata_only(train: Sequence[FileFacts], y_train: npt.ArrayLike, records: Sequence[FileFacts]) -> Floats:
    """Fit boosted trees on `metadata` of `train` and score `records`; no pixel is looked at.

    Trees, because shortcuts are seldom linear: one size range, one mode, one exporter's compression. Validation
    AUC on the Kaggle X-rays, patients apart: 0.88, against 0.87 for a random forest.
    """
    modes = tuple(sorted({record.mode for record in train}))
    model = HistGradientBoostingClassifier(max_iter=100, max_leaf_nodes=8, early_stopping=False, random_state=0)
    return _fit_and_score(model, metadata(train, modes), y_train, metadata(records, modes))


def thumbnails(x: Images) -> Floats:
    """Return area-averaged grey thumbnails of `x` (n, h, w, c) as rows (n, 576) in [0, 1]."""
    if x.ndim != 4:
        raise ValueError(f"`x` must have shape (n, h, w, c), got {x.shape}")
    rows, columns = (_averaging(length, THUMBNAIL_SIZE_PX) for length in x.shape[1:3])
    small = [_shrink(x[start : start + CHUNK], rows, columns) for start in range(0, len(x), CHUNK)]
    return np.concatenate([np.empty((0, THUMBNAIL_SIZE_PX**2)), *small])


def metadata(records: Sequence[FileFacts], modes: Sequence[str]) -> Floats:
    """Return width, height, aspect ratio, bytes per pixel and a 0/1 column per mode, (n, 4 + len(modes))."""
    facts = [[*_sizes(record), *(float(record.mode == mode) for mode in modes)] for record in records]
    return np.array(facts, dtype=np.float64).reshape(len(records), 4 + len(modes))


def _sizes(record: FileFacts) -> tuple[float, float, float, float]:
    width, height = record.width_px, record.height_px
    return width, height, width / height, record.n_bytes / (width * height)


def _fit_and_score(model: Classifier, features: Floats, y: npt.ArrayLike, features_to_score: Floats) -> Floats:
    labels = _check_labels(y, len(features))
    with one_thread():
        model.fit(features, labels)
        return np.asarray(model.predict_proba(features_to_score)[:, 1], dtype=np.float64)


def _shrink(x: Images, rows: Floats, columns: Floats) -> Floats:
    grey = x.mean(axis=3, dtype=np.float64) / 255  # (n, h, w)
    small: Floats = rows @ grey @ columns.T  # (n, 24, 24)
    return small.reshape(len(x), -1)


def _averaging(length: int, n_cells: int) -> Floats:
    """Return the matrix (n_cells, length) that averages pixels over equal cells, split pixels by their share."""
    edges = np.linspace(0, length, n_cells + 1)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.clip(overlap, 0, None) * n_cells / length, dtype=np.float64)


def _check_labels(y: npt.ArrayLike, n: int) -> Bools:
    labels = np.asarray(y).astype(np.bool_)
    if labels.shape != (n,):
        raise ValueError(f"`y_train` must have shape ({n},) like its images, got {labels.shape}")
    if labels.all() or not labels.any():
        raise ValueError(f"`y_train` must hold both classes, got {labels.sum()} positives of {n}")
    return labels
