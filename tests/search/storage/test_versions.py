"""Alembic is loaded only for tables that another version of Optuna made."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from optuna.storages._rdb import storage as rdb

from search.storage.database import open_storage
from search.storage.versions import Versions, without_alembic
from tests.search.light import ROOT


def checked(file: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether opening the database asks Alembic for its schema."""
    asked: list[object] = []
    usual = rdb.alembic_migration.MigrationContext.configure
    with monkeypatch.context() as patch:
        patch.setattr(rdb.alembic_migration.MigrationContext, "configure", lambda c: asked.append(c) or usual(c))
        open_storage(f"sqlite:///{file}").engine.dispose()
    return bool(asked)


@pytest.mark.parametrize("version", ["4.0.0", "99.0.0"])
def test_tables_of_another_version_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    file = tmp_path / "a.db"
    assert checked(file, monkeypatch), "tables that are made are marked with their schema"
    assert not checked(file, monkeypatch)
    with sqlite3.connect(file) as database:
        database.execute(f"UPDATE version_info SET library_version = '{version}'")
    assert checked(file, monkeypatch)


def test_tables_whose_making_was_cut_off_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.db"
    assert checked(file, monkeypatch)
    with sqlite3.connect(file) as database:
        database.execute("DELETE FROM alembic_version")
    assert checked(file, monkeypatch)


def test_opening_our_own_tables_does_not_import_alembic(tmp_path: Path) -> None:
    open_storage(f"sqlite:///{tmp_path / 'a.db'}").engine.dispose()
    code = (
        "import sys; from search.storage.database import open_storage\n"
        f"open_storage('sqlite:///{tmp_path / 'a.db'}')\n"
        "print(sorted({'alembic', 'mako', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_other_storages_of_optuna_stay_as_they_are(tmp_path: Path) -> None:
    with without_alembic():
        pass
    assert not isinstance(RDBStorage(f"sqlite:///{tmp_path / 'a.db'}")._version_manager, Versions)
