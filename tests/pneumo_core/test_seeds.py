"""Derived seeds."""

import subprocess
import sys

import numpy as np

from pneumo_core.seeds import derive, seed_everything


def test_a_derived_seed_is_the_same_everywhere_and_for_ever() -> None:
    assert derive(7, "order", 3) == 933564235


def test_derived_seeds_tell_their_parts_apart() -> None:
    assert len({derive(*parts) for parts in [(1,), ("1",), (1, ""), (1, 1), (11,), ("a", "b"), ("ab",)]}) == 7
    assert all(0 <= derive(i) < 2**31 for i in range(100))


def test_deriving_needs_no_keras() -> None:
    code = "import sys, pneumo_core.seeds; assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_seeding_repeats_the_global_generators() -> None:
    seed_everything(5)
    first = np.random.random()
    seed_everything(5)
    assert np.random.random() == first
