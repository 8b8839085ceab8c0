"""Two finalizes of one study at once, and what they leave."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from pneumo_core.errors import StorageError
from search.finalizing import separate
from search.finalizing.choose import Candidate, Choice, Member
from tests.search.finalizing.made import spec_of


def test_what_is_shipped_is_what_was_certified_though_another_finalize_trains_it_anew(tmp_path: Path) -> None:
    network = tmp_path / "models" / "a.keras"
    network.parent.mkdir()
    network.write_text("certified")
    with separate.own_copies(chosen(network), tmp_path / "finalize", copy) as apart:
        network.write_text("trained anew")
        assert apart.members[0].network.read_text() == "certified"
        with separate.own_copies(chosen(network), tmp_path / "finalize", copy) as other:
            assert other.members[0].network.read_text() == "trained anew"
            assert apart.members[0].network.exists()
    assert list((tmp_path / "finalize").iterdir()) == []


def test_what_a_killed_finalize_left_is_removed_by_the_next(tmp_path: Path) -> None:
    network = tmp_path / "a.keras"
    network.write_text("a network")
    if (pid := os.fork()) == 0:
        with separate.own_copies(chosen(network), tmp_path / "finalize", copy):
            os._exit(0)
    os.waitpid(pid, 0)
    (left,) = (tmp_path / "finalize").iterdir()
    with separate.own_copies(chosen(network), tmp_path / "finalize", copy) as apart:
        assert not left.exists()
        assert apart.members[0].network.exists()


@pytest.mark.parametrize(("limit_bytes", "n_left"), [(30, 3), (25, 2), (5, 0)])
def test_networks_beyond_the_limit_leave_the_oldest_first(tmp_path: Path, limit_bytes: int, n_left: int) -> None:
    for age in range(3):
        (tmp_path / f"{age}.keras").write_bytes(bytes(10))
        os.utime(tmp_path / f"{age}.keras", (1000 - age, 1000 - age))
    separate.tidy(tmp_path, limit_bytes)
    assert sorted(file.stem for file in tmp_path.iterdir()) == ["0", "1", "2"][:n_left]


def test_a_network_that_another_finalize_removes_at_this_moment_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "0.keras").write_bytes(bytes(10))
    (tmp_path / "1.keras").symlink_to(tmp_path / "gone")  # listed, and without facts
    separate.tidy(tmp_path, 5)
    assert [file.name for file in tmp_path.iterdir()] == ["1.keras"]


def test_a_network_that_a_search_removed_meanwhile_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"trial 0 was removed meanwhile.*give the same command again"),
        separate.own_copies(chosen(tmp_path / "gone.keras"), tmp_path / "finalize", copy),
    ):
        pass


def copy(member: Member, into: Path) -> None:
    shutil.copyfile(member.network, into)


def chosen(network: Path) -> Choice:
    candidate = Candidate(trial=0, spec=spec_of(0.1), value=0.9, digest=spec_of(0.1).digest)
    scores = np.array([0.5])
    member = Member(candidate=candidate, network=network, scores=scores, shifted=None, environment={})
    return Choice(members=(member,), gain=None)
