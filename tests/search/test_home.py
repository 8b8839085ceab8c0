"""Paths under a home: whatever a database says, they stay in it."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.home import Home, folder_name, new_id
from search.storage.database import open_storage


@given(name=st.text())
def test_every_name_has_one_folder_that_stays_where_it_is(name: str) -> None:
    folder = folder_name(name)
    assert Path(folder).name == folder
    assert folder not in ("", ".", "..")
    assert len(folder.encode()) <= 100
    assert folder.isprintable()


@given(names=st.lists(st.text(min_size=1), min_size=2, max_size=2, unique=True))
def test_different_names_have_different_folders(names: list[str]) -> None:
    assert folder_name(names[0]) != folder_name(names[1])


@pytest.mark.parametrize(
    "uid", ["", "..", "x/../../../outside/precious", "0" * 15, "0" * 17, "0" * 15 + "\n", "A" * 16]
)
def test_only_our_own_ids_name_checkpoints(tmp_path: Path, uid: str) -> None:
    with pytest.raises(ValueError, match="`uid` must be 16 hexadecimal digits"):
        Home(tmp_path).checkpoints("study", uid)


def test_all_folders_are_inside(tmp_path: Path) -> None:
    home = Home(tmp_path / "runs")
    name = "../../outside"
    for folder in (home.logs(name), home.finalizing(name), home.checkpoints(name, new_id())):
        assert folder.resolve().is_relative_to(home.path.resolve())


@pytest.mark.parametrize("name", ["ru?ns", "p%41q", "a#b", "a b é", "{0}", "a&b=c", ":memory"])
def test_every_home_has_its_own_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    home = Home(Path(name))
    open_storage(home.storage_url).engine.dispose()
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.db")] == [Path(name, "pneumo.db")]


def test_a_new_home_is_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "runs")
    home.check_writable()
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert not list(home.path.iterdir())
