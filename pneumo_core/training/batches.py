"""The order in which a trial sees its training images, and the batches made of them.

The batches of a run are windows on one endless stream: pass 0 over the images in a seeded order, pass 1 in
another, and so on. An epoch is a number of steps along it. Every batch is therefore full (no retracing, no
padding, no dropped rest), every image is seen equally often, `steps_per_epoch` continues where the last epoch
ended, and the position in the stream follows from the epoch number alone: a continued run needs no saved position.
"""

import contextlib
import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from pneumo_core.seeds import derive
from pneumo_core.specs import AugmentSpec, TrainSpec
from pneumo_core.training import augment
from pneumo_core.training.augment import Changes

Item = TypeVar("Item")

CHUNK_BYTES = 2**20  # of pixels handed to the backend at once
MAX_STEPS_PER_CHUNK = 16
READ_AHEAD = 2  # chunks; one is prepared while another is trained on


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """The data of a few consecutive steps. The arrays have room for k steps; `n_steps` are filled."""

    x: np.ndarray  # (k, b, ...) uint8
    y: np.ndarray  # (k, b) float32
    sample_weight: np.ndarray  # (k, b) float32
    first_step: int  # of the epoch
    n_steps: int


@dataclass(frozen=True, kw_only=True)
class Source:
    """What batches are drawn from: n images, k fixed changed copies of each, and their labels."""

    x: np.ndarray  # (n, h, w, c) uint8
    y: np.ndarray  # (n,)
    class_weight: tuple[float, float]  # of label 0 and 1
    augment: AugmentSpec
    seed: int
    rows: np.ndarray | None = None  # (m,) of the images that are shown; None: all
    flat: bool  # hand out (b, h * w * c) for a dense model
    n_views: int = 0  # passes take turns among so many changed versions of the images; 0: new ones in every pass
    open_changed: Callable[[int], np.ndarray] | None = None  # by seed: what `x` has in place of the changed images

    @property
    def n_images(self) -> int:
        return len(self.x) if self.rows is None else len(self.rows)

    @property
    def n_samples(self) -> int:
        return self.n_images * (1 + self.augment.fixed_copies)

    def copy_and_row(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which copy and which row of `x` each of `samples` is."""
        copies, images = np.divmod(samples, self.n_images)
        return copies, images if self.rows is None else self.rows[images]


def class_weight(spec: TrainSpec, y: np.ndarray) -> tuple[float, float]:
    """Return the weight of label 0 and of label 1; balanced ones average 1 over the images."""
    counts = np.bincount(y, minlength=2)
    if isinstance(spec.class_weights, tuple):
        return spec.class_weights[0], spec.class_weights[1]
    if spec.class_weights == "none" or not counts.all():
        return (1.0, 1.0)
    negative, positive = (len(y) / (2 * counts)).tolist()
    return (negative, positive)


def batch_size(spec: TrainSpec, n_samples: int) -> int:
    """Return the images of one step: what the spec says, or all where there are fewer."""
    return min(spec.batch_size, n_samples)


def n_steps(spec: TrainSpec, n_samples: int) -> int:
    """Return the steps of one epoch; without `steps_per_epoch`, as many as it takes to see every image."""
    return spec.steps_per_epoch or math.ceil(n_samples / batch_size(spec, n_samples))


def positions(spec: TrainSpec, n_samples: int, epoch: int) -> np.ndarray:
    """Return the places in the stream that `epoch` covers, (steps, batch) int64."""
    size, steps = batch_size(spec, n_samples), n_steps(spec, n_samples)
    start = epoch * steps * size
    return np.arange(start, start + steps * size).reshape(steps, size)


def chunks(source: Source, spec: TrainSpec, epoch: int) -> Iterator[Chunk]:
    """Yield the data of `epoch` in order, prepared ahead in a background thread."""
    n, places = source.n_samples, positions(spec, source.n_samples, epoch)  # (steps, batch)
    # Drawn in this thread: with `open_changed` it may have to compute with the backend.
    passes = {number: _Pass.draw(source, number) for number in range(places[0, 0] // n, places[-1, -1] // n + 1)}
    return read_ahead(_chunks(source, passes, places))


def shown(source: Source, spec: TrainSpec, epoch: int) -> tuple[np.ndarray, Changes | None]:
    """Return which images the batches of `epoch` hold, (steps, batch) int32, and how each is changed, if any is.

    The fields of the changes are (steps, batch, ...).
    """
    n, places = source.n_samples, positions(spec, source.n_samples, epoch)
    numbers, ranks = np.divmod(places, n)
    samples = _samples(numbers, ranks, lambda number: _order(source, number))
    copies, rows = source.copy_and_row(samples)
    if source.augment.is_identity:
        return rows.astype(np.int32), None
    changes = augment.none(places.shape)
    for number in np.unique(numbers).tolist():
        for copy, seed in enumerate(_change_seeds(source, number), start=_first_changed(source)):
            here = (numbers == number) & (copies == copy)
            changes[here] = augment.draw(source.augment, len(source.x), seed)[rows[here]]
    return rows.astype(np.int32), changes


def view_seed(number: int) -> int:
    """Return the seed of view `number`: the same for all trials, so that they share what is computed from it."""
    return derive("view", number)


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield `items`, computed ahead in a thread; their exception is raised here, and closing ends the thread."""
    ready: queue.Queue[tuple[bool, Item | BaseException | None]] = queue.Queue(READ_AHEAD)
    closed = threading.Event()

    def put(more: bool, item: Item | BaseException | None) -> None:
        while not closed.is_set():
            with contextlib.suppress(queue.Full):
                ready.put((more, item), timeout=0.1)
                return

    def work() -> None:
        try:
            for item in items:
                put(True, item)
                if closed.is_set():
                    return
            put(False, None)
        except BaseException as error:
            put(False, error)

    threading.Thread(target=work, name="read-ahead", daemon=True).start()
    try:
        yield from _taken(ready)
    finally:
        closed.set()


def _taken(ready: "queue.Queue[tuple[bool, Item | BaseException | None]]") -> Iterator[Item]:
    while True:
        more, item = ready.get()
        if isinstance(item, BaseException):
            raise item
        if not more:
            return
        yield item  # type: ignore[misc]


def _chunks(source: Source, passes: "dict[int, _Pass]", places: np.ndarray) -> Iterator[Chunk]:
    room = steps_per_chunk(places.shape[1] * source.x[0].nbytes, len(places))
    for first in range(0, len(places), room):
        window = places[first : first + room]
        x, y = _images(source, passes, window.ravel())
        yield _packed(source, x, y, first, window.shape, room)


def steps_per_chunk(step_bytes: int, n_steps: int) -> int:
    """Return how many steps go to the backend at once: several when they are small."""
    return max(1, min(CHUNK_BYTES // step_bytes, MAX_STEPS_PER_CHUNK, n_steps))


def _packed(source: Source, x: np.ndarray, y: np.ndarray, first: int, shape: tuple[int, int], room: int) -> Chunk:
    steps, size = shape
    x = x.reshape(steps, size, -1) if source.flat else x.reshape(steps, size, *x.shape[1:])
    labels = y.reshape(steps, size)
    weights = np.asarray(source.class_weight, np.float32)[labels]
    pad = room - steps  # only the last chunk of an epoch has empty room; its content is never read
    return Chunk(
        x=_padded(x, pad),
        y=_padded(labels.astype(np.float32), pad),
        sample_weight=_padded(weights, pad),
        first_step=first,
        n_steps=steps,
    )


def _padded(values: np.ndarray, n_rows: int) -> np.ndarray:
    if not n_rows:
        return values
    return np.concatenate([values, np.zeros((n_rows, *values.shape[1:]), values.dtype)])


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """One pass of the stream: its order, and the changes of its images."""

    order: np.ndarray  # (n_samples,)
    changers: "tuple[Changer, ...]"  # of the originals or of each fixed copy; empty without augmentation

    @staticmethod
    def draw(source: Source, number: int) -> "_Pass":
        changers = tuple(_changer(source, seed) for seed in _change_seeds(source, number))
        return _Pass(order=_order(source, number), changers=changers)


def _order(source: Source, number: int) -> np.ndarray:
    return np.random.default_rng(derive(source.seed, "order", number)).permutation(source.n_samples)


Changer = Callable[[np.ndarray, np.ndarray], np.ndarray]  # originals (b, ...) and their rows (b,) to changed ones


def _changer(source: Source, seed: int) -> Changer:
    if source.open_changed is not None:
        kept = source.open_changed(seed)
        return lambda x, rows: kept[rows]
    changes = augment.draw(source.augment, len(source.x), seed)
    return lambda x, rows: augment.apply(source.augment, x, changes[rows])


def _change_seeds(source: Source, number: int) -> Iterator[int]:
    """Yield the seeds of the changes that pass `number` shows: of all images, or of each fixed copy of them.

    Fixed copies are drawn anew from the same seed in every pass rather than kept: they would take k times the
    memory of the mapped arrays in every child process, and preparing them overlaps with training.
    """
    spec = source.augment
    if spec.is_identity:
        return
    if not spec.fixed_copies:
        yield view_seed(number % source.n_views) if source.n_views else derive(source.seed, "augment", number)
    for copy in range(1, 1 + spec.fixed_copies):
        yield derive(source.seed, "copy", copy)


def _samples(numbers: np.ndarray, ranks: np.ndarray, order_of: Callable[[int], np.ndarray]) -> np.ndarray:
    """Return which samples lie at `ranks` of the passes `numbers`, of any shape."""
    samples = np.empty(numbers.shape, np.int64)
    for number in np.unique(numbers).tolist():
        samples[numbers == number] = order_of(number)[ranks[numbers == number]]
    return samples


def _first_changed(source: Source) -> int:
    """Return which copy of the images the first of the change seeds is for; copy 0 stays as it is beside fixed ones."""
    return 1 if source.augment.fixed_copies else 0


def _images(source: Source, passes: dict[int, _Pass], places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    numbers, ranks = np.divmod(places, source.n_samples)  # (b,)
    copies, rows = source.copy_and_row(_samples(numbers, ranks, lambda number: passes[number].order))
    x = source.x[rows]
    for number in np.unique(numbers).tolist():
        for copy, change in enumerate(passes[number].changers, start=_first_changed(source)):
            here = (numbers == number) & (copies == copy)
            if here.any():
                x[here] = change(x[here], rows[here])
    return x, source.y[rows].astype(np.int64)
