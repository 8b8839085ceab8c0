import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pneumo_core.data import duplicates, reading
from tests.pneumo_core.pictures import DATA, encoded, needs_data, pixels


def thumbs(images: list[np.ndarray]) -> np.ndarray:
    return np.stack([duplicates.thumbnail(image[:, :, np.newaxis]) for image in images])


def recompressed(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded(image, "JPEG", quality=40))))


def test_a_recompressed_copy_looks_the_same_and_others_do_not() -> None:
    images = [pixels(0), pixels(1), recompressed(pixels(0)), pixels(2)]
    names, divided = duplicates.looks(["c", "d", "a", "b"], thumbs(images))
    assert names == ["a", "d", "a", "b"]
    assert divided == 0


def test_looks_do_not_depend_on_order() -> None:
    images = [pixels(i // 2) for i in range(20)]
    digests = [f"{i:02d}" for i in range(20)]
    forward, _ = duplicates.looks(digests, thumbs(images))
    order = np.random.default_rng(0).permutation(20)
    shuffled, _ = duplicates.looks([digests[i] for i in order], thumbs([images[i] for i in order]))
    assert shuffled == [forward[i] for i in order]


def test_blocks_of_the_correlation_matrix_miss_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    images, digests = [pixels(i % 7) for i in range(21)], [f"{i:02d}" for i in range(21)]
    whole = duplicates.looks(digests, thumbs(images))
    monkeypatch.setattr(duplicates, "_BLOCK_CELLS", 40)  # two rows at a time
    assert duplicates.looks(digests, thumbs(images)) == whole
    assert len(set(whole[0])) == 7


def test_many_changed_copies_stay_one_set() -> None:
    changed = [(i, copy) for i in range(8) for copy in range(25)]
    images = [np.clip(pixels(i) * (1 - copy / 200) + copy, 0, 255).astype(np.uint8) for i, copy in changed]
    names, divided = duplicates.looks([f"{i:02d}-{copy:02d}" for i, copy in changed], thumbs(images))
    assert names == [f"{i:02d}-00" for i, _ in changed]
    assert divided == 0


def test_a_chain_of_resemblances_is_divided_and_leaves_other_sets_whole() -> None:
    line = np.linspace(0, 1, 40)[:, None, None]
    film = (line * pixels(0) + (1 - line) * pixels(1)).astype(np.uint8)  # neighbours look the same, the ends don't
    pair = [pixels(7), recompressed(pixels(7))]
    names, divided = duplicates.looks([f"{i:02d}" for i in range(42)], thumbs([*film, *pair]))
    assert divided == 40
    assert max(names.count(name) for name in names) <= 20
    assert names[40:] == ["40", "40"]


def test_many_copies_of_one_file_are_no_chain() -> None:
    names, divided = duplicates.looks(["same"] * 50 + ["other"], thumbs([pixels(0)] * 50 + [pixels(1)]))
    assert (len(set(names)), divided) == (2, 0)


@given(edges=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20))
def test_components_are_those_of_the_graph(edges: list[tuple[int, int]]) -> None:
    first, second = np.array(edges, np.intp).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(edges)), (first, second)), shape=(12, 12))
    member = connected_components(graph, directed=False)[1]
    smallest = [int(np.flatnonzero(member == of_node)[0]) for of_node in member]
    assert duplicates.components(12, first, second).tolist() == smallest


def test_flat_and_no_images() -> None:
    flat = [np.full((8, 8), value, np.uint8) for value in (0, 100)]
    assert duplicates.looks(["a", "b"], thumbs(flat))[0] == ["a", "b"]
    assert duplicates.looks([], np.zeros((0, 32, 32), np.uint8))[0] == []


def test_remembered_looks_are_the_same_and_survive_damage(tmp_path: Path) -> None:
    digests, images = ["a", "b", "c"], thumbs([pixels(0), pixels(0), pixels(1)])
    first = duplicates.remembered_looks(digests, images, tmp_path)
    no_images = np.zeros_like(images)
    assert duplicates.remembered_looks(digests, no_images, tmp_path) == first == (["a", "a", "c"], 0)
    next((tmp_path / "looks").iterdir()).write_text("{")
    assert duplicates.remembered_looks(digests, images, tmp_path) == first


@needs_data
def test_real_images_of_different_patients_do_not_look_the_same() -> None:
    files = sorted((DATA / "chest_xray" / "train" / "NORMAL").iterdir())[::20]
    images = [reading.decode(file, channels=1, at_least_px=64)[:, :, 0] for file in files]
    copies = [recompressed(image) for image in images[:5]]
    names, divided = duplicates.looks([f"{i:03d}" for i in range(len(images) + 5)], thumbs(images + copies))
    assert divided == 0
    assert len(set(names[: len(images)])) == len(images)
    assert names[len(images) :] == names[:5]
