"""Frozen networks, and the frozen first part of others, by their outputs: computed once, kept, shared by all trainers.

Nothing of a trial's result hangs on it. What is trained on the features is the rest of the same network, layers and
weights shared, so the whole network is the trained one, and its scores are those of training it on pixels.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import PIL

from pneumo_core import codec
from pneumo_core.data.preprocess import FitArrays
from pneumo_core.errors import StorageError
from pneumo_core.models import forward
from pneumo_core.models.forward import Engine
from pneumo_core.scoring.metrics import Ints
from pneumo_core.specs import AugmentSpec, BackboneSpec, ModelSpec, TrialSpec
from pneumo_core.training import augment, batches, feature_store, frozen_part
from pneumo_core.training.feature_store import Features
from pneumo_core.training.steps import device_changes
from pneumo_core.training.train import score_batch

VERSION = 1  # raise it whenever the same network and images would give other features


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A network in two, sharing its layers."""

    frozen: keras.Model  # pixels to features
    rest: keras.Model  # features to logit


@dataclass(frozen=True, kw_only=True)
class Cached:
    """What to train instead of the whole network, and on what."""

    rest: keras.Model
    arrays: FitArrays  # with features in the place of the images
    open_changed: Callable[[int], Features]  # see `Extractor.changed`; remembers the files that it opened
    engine: str  # what computes the features


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """Opens the features of one network's images, computed where they are not kept yet."""

    frozen: keras.Model
    images: FitArrays
    augment: AugmentSpec
    folder: Path
    digest: str  # of network, images and environment
    rows: Ints | None = None  # (m,) of the training images that the trial sees; None: all

    @cached_property
    def engine(self) -> Engine:
        return forward.of_model(self.frozen)

    def validation(self) -> Features:
        """Return the features of the validation images."""
        return self._open("validation", self.images.x_validation, None)

    def shifted(self) -> Features | None:
        """Return the features of the validation images under their shifts, where the study judges by some."""
        x = self.images.x_shifted
        return None if x is None else self._open(f"shifted {images_name(x)}", x, None)

    def originals(self) -> Features:
        """Return the features of the training images, unchanged."""
        return self._open("train", self.images.x_train, None)

    def view(self, number: int) -> Features:
        """Return the features of the training images as `augment` changes them in one of the fixed views."""
        return self._open("train", self.images.x_train, batches.view_seed(number))

    def changed(self, seed: int) -> Features:
        """Return the features of the training images as `augment` changes them with `seed`.

        Training has begun when this is called: where they can't be kept they are computed for the one pass.
        """
        try:
            return self._open("train", self.images.x_train, seed)
        except StorageError:
            return np.concatenate(list(self._computed(self.images.x_train, seed, self.rows)))

    def _open(self, role: str, x: np.ndarray, seed: int | None) -> Features:
        rows = self.rows if role == "train" else None
        change = None if seed is None else [codec.to_json(self.augment), seed, PIL.__version__]
        key = codec.digest([self.digest, role, change, *([] if rows is None else [rows.tolist()])])
        shape = (len(x) if rows is None else len(rows), *self.frozen.output_shape[1:])
        return feature_store.open_or_build(self.folder, key, shape, self._computed(x, seed, rows))

    def _computed(self, x: np.ndarray, seed: int | None, rows: Ints | None) -> Iterator[Features]:
        """Yield the features of `rows` of `x`; an image changes in the same way whichever others are among them."""
        size, rows = score_batch(x), np.arange(len(x)) if rows is None else rows
        changes = None if seed is None else augment.draw(self.augment, len(x), seed)
        for start in range(0, len(rows), size):
            of_part = rows[start : start + size]
            part = np.asarray(x[of_part])
            if changes is not None:
                part = augment.apply(self.augment, part, changes[of_part])
            yield self.engine.outputs(part)


def split(network: keras.Model, spec: ModelSpec) -> Parts | None:
    """Cut a network of `backbones.build` where its frozen part ends; None where nothing of weight is frozen.

    A wholly frozen backbone ends behind its pooling where nothing else lies before that.
    """
    if not isinstance(spec, BackboneSpec):
        return None
    cut = frozen_part.end(network) if spec.trainable_from else _before_the_head(network, spec)
    if cut is None:
        return None
    frozen = keras.Model(network.inputs, cut, name="frozen")
    return Parts(frozen=frozen, rest=keras.Model(cut, network.get_layer("score").input, name="rest"))


def n_views(parts: Parts | None, spec: ModelSpec) -> int:
    """Return how many changed versions of the images passes take turns among; 0: each pass changes them anew."""
    return spec.views if parts is not None and isinstance(spec, BackboneSpec) else 0


def open_cached(
    parts: Parts | None,
    spec: TrialSpec,
    images: FitArrays,
    environment: Mapping[str, str],
    rows: Ints | None = None,
) -> tuple[Cached | None, str]:
    """Return what to train in place of the whole network, with "cached", or None and why not.

    Only the training images in `rows` (m,) are in it, all where None: features of the others would be computed for
    nothing. `environment` names all that features may depend on beside network, engine and images.
    """
    if parts is None:
        return None, "none"
    if images.origin is None:
        return None, "uncached: these images are in memory only"
    if device_changes(spec.train.augment, images.x_train):  # and runs the frozen part in less time than the host reads
        return None, "none: the device runs the whole network"
    if not feature_store.limit_bytes():
        return None, f"uncached: {feature_store.LIMIT_VARIABLE} is 0"
    if _changes_all(spec.train.augment) and not n_views(parts, spec.model):
        return None, "uncached: every pass changes the images anew"
    engine = forward.name_for(parts.frozen)
    extractor = Extractor(
        frozen=parts.frozen,
        images=images,
        augment=spec.train.augment,
        folder=feature_store.folder_in(images.origin.cache_dir),
        digest=codec.digest([VERSION, network_digest(parts.frozen), engine, images.origin.digest, environment]),
        rows=rows,
    )
    try:
        arrays = _arrays(extractor, images)
    except StorageError as error:
        return None, f"uncached: {error}"
    return Cached(rest=parts.rest, arrays=arrays, open_changed=_remembering(extractor), engine=engine), "cached"


def _before_the_head(network: keras.Model, spec: BackboneSpec) -> keras.KerasTensor:
    pooled = network.get_layer("features")
    if spec.filters:
        return network.get_layer("extra1_conv").input
    # Flattening belongs to the rest, whose weights are stretched from one image size to the next by its shape.
    return pooled.input if isinstance(pooled, keras.layers.Flatten) else pooled.output


def _remembering(extractor: Extractor) -> Callable[[int], Features]:
    opened: dict[int, Features] = {}

    def open_changed(seed: int) -> Features:
        found = opened.get(seed)
        if found is None:
            found = extractor.changed(seed)
            if isinstance(found, np.memmap):
                opened[seed] = found
        return found

    return open_changed


def network_digest(network: keras.Model) -> str:
    """Return what names the function that `network` computes: its layers, their settings and weights."""
    digest = hashlib.blake2b(network.to_json().encode(), digest_size=16)
    for value in network.get_weights():
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def images_name(x: np.ndarray) -> str:
    """Return a digest of the content of images (n, h, w, c)."""
    return hashlib.blake2b(np.ascontiguousarray(x).tobytes(), digest_size=8).hexdigest()


def _changes_all(changes: AugmentSpec) -> bool:
    """Return whether no image is ever shown as it is."""
    return not (changes.is_identity or changes.fixed_copies)


def _arrays(extractor: Extractor, images: FitArrays) -> FitArrays:
    rows = slice(None) if extractor.rows is None else extractor.rows
    return replace(
        images,
        x_train=extractor.view(0) if _changes_all(extractor.augment) else extractor.originals(),
        y_train=images.y_train[rows],
        groups_train=images.groups_train[rows],
        x_validation=extractor.validation(),
        x_shifted=extractor.shifted(),
        origin=None,
    )
