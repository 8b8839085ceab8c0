"""The order of training images and the batches made of them."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumo_core.specs import AugmentSpec, TrainSpec
from pneumo_core.training import augment, batches
from pneumo_core.training.batches import Chunk, Source


def source(n: int = 10, **fields: Any) -> Source:
    """Return images whose pixels are their index."""
    x = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 4, 4, 1))
    settings = {"class_weight": (1.0, 1.0), "augment": AugmentSpec(), "seed": 0, "flat": False, **fields}
    return Source(x=x, y=(np.arange(n) % 2).astype(np.uint8), **settings)


def steps(chunks: Iterator[Chunk]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for chunk in chunks:
        yield from zip(*(a[: chunk.n_steps] for a in (chunk.x, chunk.y, chunk.sample_weight)), strict=True)


def seen(origin: Source, spec: TrainSpec, epochs: int) -> list[int]:
    return [int(i) for e in range(epochs) for x, _, _ in steps(batches.chunks(origin, spec, e)) for i in x[:, 0, 0, 0]]


@given(n=st.integers(1, 30), size=st.integers(1, 40), per_epoch=st.none() | st.integers(1, 7), epochs=st.integers(1, 4))
def test_images_are_seen_equally_often_in_full_batches(n: int, size: int, per_epoch: int | None, epochs: int) -> None:
    spec = TrainSpec(batch_size=size, steps_per_epoch=per_epoch)
    places = np.concatenate([batches.positions(spec, n, epoch) for epoch in range(epochs)])

    np.testing.assert_array_equal(places.ravel(), np.arange(places.size))
    assert places.shape == (epochs * batches.n_steps(spec, n), min(size, n))
    if per_epoch is None:
        assert places.size >= epochs * n


def test_every_pass_is_a_new_permutation() -> None:
    order = seen(source(), TrainSpec(batch_size=5), epochs=3)

    passes = [order[i : i + 10] for i in (0, 10, 20)]
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3


def test_steps_per_epoch_goes_on_where_the_last_epoch_ended() -> None:
    long, short = TrainSpec(batch_size=4, steps_per_epoch=6), TrainSpec(batch_size=4, steps_per_epoch=2)

    assert seen(source(), short, epochs=3) == seen(source(), long, epochs=1)


def test_the_seed_decides_the_order() -> None:
    spec = TrainSpec(batch_size=5)

    assert seen(source(), spec, 2) == seen(source(), spec, 2)
    assert seen(source(), spec, 2) != seen(source(seed=1), spec, 2)


@pytest.mark.parametrize("room", [1, 2, 16])
def test_how_many_steps_go_together_changes_nothing(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, origin = TrainSpec(batch_size=3), source(augment=AugmentSpec(rotation_deg=30, contrast=0.5))
    expected = [x for x, _, _ in steps(batches.chunks(origin, spec, 1))]

    monkeypatch.setattr(batches, "MAX_STEPS_PER_CHUNK", room)
    chunks = list(batches.chunks(origin, spec, 1))

    assert len({chunk.x.shape for chunk in chunks}) == 1  # else the backend would compile twice
    assert [chunk.first_step for chunk in chunks] == list(range(0, 4, len(chunks[0].x)))
    np.testing.assert_array_equal([x for x, _, _ in steps(iter(chunks))], expected)


def test_labels_and_weights_follow_their_images() -> None:
    for x, y, weight in steps(batches.chunks(source(class_weight=(2.0, 0.5)), TrainSpec(batch_size=3), 0)):
        np.testing.assert_array_equal(y, x[:, 0, 0, 0] % 2)
        np.testing.assert_array_equal(weight, np.where(y == 1, 0.5, 2.0))
        assert (x.dtype, y.dtype, weight.dtype) == (np.uint8, np.float32, np.float32)


@pytest.mark.parametrize("fields", [{}, {"augment": AugmentSpec(fixed_copies=1)}], ids=["plain", "copies of nothing"])
def test_rows_are_the_images_that_chunks_hold(fields: Any) -> None:
    spec = TrainSpec(batch_size=4, steps_per_epoch=7)
    for epoch in (0, 2):
        rows, changes = batches.shown(source(**fields), spec, epoch)
        expected = [x[:, 0, 0, 0] for x, _, _ in steps(batches.chunks(source(**fields), spec, epoch))]

        assert changes is None
        np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize(
    "fields",
    [{}, {"n_views": 2}, {"rows": np.array([7, 2, 5])}, {"copies": 2}],
    ids=["new in every pass", "views", "some rows", "fixed copies"],
)
def test_what_is_shown_is_what_chunks_hold_changed(fields: dict[str, Any]) -> None:
    spec, copies = TrainSpec(batch_size=4, steps_per_epoch=7), fields.pop("copies", 0)
    origin = source(augment=AugmentSpec(brightness=0.5, noise=0.1, flip=0.5, fixed_copies=copies), **fields)
    for epoch in (0, 2):
        rows, changes = batches.shown(origin, spec, epoch)

        assert changes is not None
        for i, (x, y, _) in enumerate(steps(batches.chunks(origin, spec, epoch))):
            np.testing.assert_array_equal(augment.apply(origin.augment, origin.x[rows[i]], changes[i]), x)
            np.testing.assert_array_equal(origin.y[rows[i]], y)


def test_a_dense_model_gets_rows() -> None:
    assert next(batches.chunks(source(flat=True), TrainSpec(batch_size=5), 0)).x.shape[1:] == (5, 16)


def test_fresh_augmentation_differs_from_pass_to_pass() -> None:
    origin = source(augment=AugmentSpec(contrast=1.0, blur=0.05, shift=0.5, zoom=0.5))
    x = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1), dtype=np.uint8)
    origin = Source(**{**vars(origin), "x": x})

    first, second = (
        {x.tobytes() for xs, _, _ in steps(batches.chunks(origin, TrainSpec(batch_size=5), epoch)) for x in xs}
        for epoch in (0, 1)
    )

    assert not first & second


def test_fixed_copies_stay_the_same_beside_the_originals() -> None:
    x = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1), dtype=np.uint8)
    origin = Source(**{**vars(source(augment=AugmentSpec(rotation_deg=40, fixed_copies=2))), "x": x})

    first, second = (
        sorted(x.tobytes() for xs, _, _ in steps(batches.chunks(origin, TrainSpec(batch_size=5), epoch)) for x in xs)
        for epoch in (0, 1)
    )

    assert first == second
    assert len(set(first)) == 30
    assert {image.tobytes() for image in x} <= set(first)


def test_balanced_class_weights_average_one_and_balance() -> None:
    y = np.array([0, 1, 1, 1], np.uint8)
    negative, positive = batches.class_weight(TrainSpec(), y)

    assert (negative, positive) == (2.0, pytest.approx(2 / 3))
    assert batches.class_weight(TrainSpec(class_weights="none"), y) == (1.0, 1.0)
    assert batches.class_weight(TrainSpec(), np.ones(3, np.uint8)) == (1.0, 1.0)


def test_an_exception_while_reading_ahead_reaches_the_reader() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    items = batches.read_ahead(broken())

    assert next(items) == 1
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_reading_ahead_keeps_the_order() -> None:
    assert list(batches.read_ahead(range(50))) == list(range(50))


def test_a_reader_that_stops_early_stops_the_thread() -> None:
    drawn = itertools.count()
    items = batches.read_ahead(drawn)
    next(items)
    items.close()  # type: ignore[attr-defined]

    n_drawn = next(drawn)
    assert n_drawn < 2 * batches.READ_AHEAD + 3
