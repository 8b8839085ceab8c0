from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pneumo_core.data import altered, audit, dataset, duplicates, phantom, split
from pneumo_core.specs import SplitSpec

N = 24


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [Image.fromarray(phantom.draw((0, i), (1, i), i % 2 == 1, 96)) for i in range(N)]


def thumbnails(images: list[Image.Image]) -> np.ndarray:
    return np.stack([duplicates.thumbnail(np.asarray(image)[:, :, np.newaxis]) for image in images])


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "upside down": lambda image: image.rotate(180),
    "rotated by 90°": lambda image: image.rotate(90),
    "rotated by 270°": lambda image: image.rotate(270),
    "inverted": ImageOps.invert,
    "turned by 10°": lambda image: image.rotate(10),
    "mirrored and inverted": lambda image: ImageOps.invert(ImageOps.mirror(image)),
}


@pytest.mark.parametrize("how", CHANGES)
def test_an_altered_copy_is_found_and_no_other(images: list[Image.Image], how: str) -> None:
    changed = CHANGES[how](images[3])
    found = altered.copies(thumbnails([*images, changed]), [str(i) for i in range(N + 1)])
    assert {frozenset((pair.first, pair.second)) for pair in found} == {frozenset((3, N))}
    assert {how, found[0].how} <= {how, "rotated by 90°", "rotated by 270°"}  # either is the other's, seen from there


def test_images_that_look_the_same_are_no_altered_copies(images: list[Image.Image]) -> None:
    both = thumbnails([*images, ImageOps.mirror(images[3])])
    assert altered.copies(both, [*map(str, range(N)), "3"]) == []


@pytest.mark.parametrize("cells", [1, 200])
def test_blocks_and_order_miss_no_pair(images: list[Image.Image], monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    rows = thumbnails([*images, *(change(images[i]) for i, change in enumerate(CHANGES.values()))])
    looks = [str(i) for i in range(len(rows))]
    expected = {(pair.first, pair.second, pair.how) for pair in altered.copies(rows, looks)}
    together = {frozenset((first, second)) for first, second, _ in expected}
    assert together >= {frozenset((i, N + i)) for i in range(len(CHANGES))}
    monkeypatch.setattr(altered, "_BLOCK_CELLS", cells)
    monkeypatch.setattr(altered, "_FEWEST_ROWS", 1)
    monkeypatch.setattr(altered, "_AT_ONCE", 3)
    assert {(pair.first, pair.second, pair.how) for pair in altered.copies(rows, looks)} == expected
    last = len(rows) - 1
    backwards = altered.copies(rows[::-1], looks)
    assert {frozenset((last - pair.first, last - pair.second)) for pair in backwards} == together


def test_no_pair_is_passed_over_that_correlates(images: list[Image.Image]) -> None:
    random = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    small = altered._boxes(thumbnails(images).astype(np.float32), 8).reshape(N, 64)
    x = altered._normalised(np.concatenate([random, small, np.zeros((1, 64), np.float32)]))
    assert np.all(altered._bounds(x) @ altered._bounds(x).T >= x @ x.T - 1e-6)


def test_odd_images_are_named(images: list[Image.Image]) -> None:
    odd = [Image.new("L", (96, 96), 7), ImageOps.invert(images[0]), images[1].rotate(180)]
    found = altered.odd_ones(thumbnails([*images, *odd]))
    assert [(one.row - N, one.how) for one in found] == [(0, "blank"), (1, "inverted"), (2, "upside down")]


def test_few_images_say_nothing_of_how_one_should_lie(images: list[Image.Image]) -> None:
    assert altered.odd_ones(thumbnails([images[0], images[1].rotate(180)])) == []


def test_copies_are_one_family_named_whatever_their_order(images: list[Image.Image], tmp_path: Path) -> None:
    changed = [ImageOps.mirror(images[3]), images[3].rotate(90), ImageOps.invert(images[5])]
    digests = [f"{i:02d}" for i in range(N + 3)]
    rows = thumbnails([*images, *changed])
    found = altered.likenesses(digests, rows, tmp_path)
    assert found.families == (*("03" if i in (3, N, N + 1) else "05" if i in (5, N + 2) else "" for i in range(N + 3)),)
    assert altered.likenesses(digests, np.zeros_like(rows), tmp_path) == found  # as it is remembered
    order = np.random.default_rng(0).permutation(N + 3)
    again = altered.likenesses([digests[row] for row in order], rows[order], tmp_path)
    assert again.families == tuple(found.families[row] for row in order)


def test_a_family_of_most_images_is_left_apart() -> None:
    pairs = [altered.Altered(first=i, second=i + 1, how="mirrored", correlation=1.0) for i in range(30)]
    looks = [f"{i:02d}" for i in range(60)]
    assert altered.families(looks, pairs) == ([""] * 60, 31)
    assert altered.families(looks, pairs[:3]) == (["00"] * 4 + [""] * 56, 0)
    assert altered.families(looks, []) == ([""] * 60, 0)


def test_a_source_that_was_augmented_before_it_was_divided_does_not_leak(tmp_path: Path) -> None:
    root = tmp_path / "source"
    for label, name in enumerate(("NORMAL", "PNEUMONIA")):
        (root / name).mkdir(parents=True)
        for i in range(12):
            image = Image.fromarray(phantom.draw((label, i), (1, i), label == 1, 64))
            for how, copy in (("", image), ("m", ImageOps.mirror(image)), ("r", image.rotate(90))):
                copy.save(root / name / f"{i}{how}.png")
    manifest = dataset.scan(root, cache_dir=tmp_path / "cache")
    roles = split.assign_roles(manifest, SplitSpec())
    of_original = {(r.label, r.path.rstrip("mrpng.").rpartition("/")[2]): set[str]() for r in manifest.records}
    for record, role in zip(manifest.records, roles.roles, strict=True):
        of_original[record.label, record.path.rstrip("mrpng.").rpartition("/")[2]].add(role)
    assert len(of_original) == 24
    assert all(len(of_one) == 1 for of_one in of_original.values())
    found = audit.audit(manifest, roles)
    assert found.n_groups == 24
    assert len(found.copies) >= 48
    assert not any(pair.divided for pair in found.copies)
