from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageOps

from pneumo_core.data import altered, duplicates, phantom

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


def test_odd_images_are_named(images: list[Image.Image]) -> None:
    odd = [Image.new("L", (96, 96), 7), ImageOps.invert(images[0]), images[1].rotate(180)]
    found = altered.odd_ones(thumbnails([*images, *odd]))
    assert [(one.row - N, one.how) for one in found] == [(0, "blank"), (1, "inverted"), (2, "upside down")]


def test_few_images_say_nothing_of_how_one_should_lie(images: list[Image.Image]) -> None:
    assert altered.odd_ones(thumbnails([images[0], images[1].rotate(180)])) == []
