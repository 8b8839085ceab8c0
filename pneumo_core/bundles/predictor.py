"""A bundle with its networks loaded: image files in, scores out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from pneumo_core.bundles import bundle
from pneumo_core.bundles.bundle import Bundle
from pneumo_core.data import bounded, rows
from pneumo_core.errors import BundleError, DataError
from pneumo_core.models import forward
from pneumo_core.models.forward import Engine
from pneumo_core.parallel import map_in_order
from pneumo_core.progress import Progress, silent
from pneumo_core.scoring.average import average
from pneumo_core.scoring.metrics import Floats
from pneumo_core.specs import DataSpec

if TYPE_CHECKING:
    import keras

IMAGES_AT_ONCE = 256

Item = TypeVar("Item")

Arrays = tuple[npt.NDArray[np.uint8], ...]
"""One image as each of a bundle's `data_specs` wants it, (h, w, c) each."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Networks with what they expect; `engines` and `models` are in the order of the bundle's members."""

    folder: Path
    bundle: Bundle
    engines: tuple[Engine, ...]

    @cached_property
    def models(self) -> "tuple[keras.Model, ...]":
        """The networks as Keras models, for other uses than scoring. Keras is loaded by the first access."""
        from pneumo_core.models import network

        return tuple(network.load(self.folder / member.file, member.data) for member in self.bundle.members)

    @property
    def engine(self) -> str:
        """What runs the networks, with versions."""
        return ", ".join(sorted({engine.name for engine in self.engines}))

    @property
    def data_specs(self) -> tuple[DataSpec, ...]:
        """The different preprocessings, each once: members that share one share the decoded image."""
        return tuple(dict.fromkeys(member.data for member in self.bundle.members))

    def scores(self, images: Sequence[Arrays]) -> Floats:
        """Return the score of each image, (n,): the average of the members'."""
        specs = self.data_specs
        stacked = {spec: np.stack([image[i] for image in images]) for i, spec in enumerate(specs)}  # (n, h, w, c) each
        members = zip(self.bundle.members, self.engines, strict=True)
        scores = [engine.scores(stacked[member.data]) for member, engine in members]
        found = average(scores)
        if not all(((each >= 0) & (each <= 1)).all() for each in (*scores, found)):  # NaN is neither
            raise BundleError("a network of the bundle gives scores that aren't in [0, 1]: its weights are damaged")
        return found


def load(folder: Path) -> Predictor:
    """Return the bundle in `folder` ready to predict. Raises `BundleError` for one that can't be trusted or read."""
    found = bundle.read(folder)
    engines = tuple(forward.of_file(folder / member.file, member.data) for member in found.members)
    return Predictor(folder=folder, bundle=found, engines=engines)


def score_each(
    predictor: Predictor, items: Sequence[Item], decode: Callable[[Item], Arrays], on_progress: Progress = silent
) -> Iterator[float | str]:
    """Yield the score of each item, in order, or the reason of the `DataError` that `decode` raised for it.

    Items are decoded on threads while the networks work on those before; memory stays bounded.
    """

    def decoded(item: Item) -> Arrays | str:
        try:
            return decode(item)
        except DataError as error:
            return str(error)

    images = map_in_order(decoded, items, what="scoring images", on_progress=on_progress)
    while some := list(islice(images, IMAGES_AT_ONCE)):
        good = [image for image in some if not isinstance(image, str)]
        scores = iter(predictor.scores(good).tolist() if good else [])
        yield from (image if isinstance(image, str) else next(scores) for image in some)


def from_file(predictor: Predictor, path: Path) -> Arrays:
    """Return one image file as the networks want it; raises `DataError` on a bad file."""
    return bounded.read(rows.of_file, path, predictor.data_specs)
