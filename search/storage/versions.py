"""Optuna's check of the tables of a database, without Alembic where this version of Optuna made them.

Alembic takes a quarter of a second to import, in every command that opens a database.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import sqlalchemy
from optuna.storages._rdb import storage as rdb

_USUAL = rdb._VersionManager


class Versions(_USUAL):
    """Optuna notes the version that made or upgraded the tables; theirs is the newest schema that it knows."""

    def _init_alembic(self) -> None:
        if not self._is_of_this_version():
            super()._init_alembic()

    def check_table_schema_compatibility(self) -> None:
        if not self._is_of_this_version():
            super().check_table_schema_compatibility()

    def _is_of_this_version(self) -> bool:
        if not sqlalchemy.inspect(self.engine).has_table("alembic_version"):
            return False
        with self.engine.connect() as connection:
            made_by = connection.execute(sqlalchemy.text("SELECT library_version FROM version_info")).scalars().all()
            n_schemas = connection.execute(sqlalchemy.text("SELECT count(*) FROM alembic_version")).scalar()
        return list(made_by) == [optuna.__version__] and n_schemas == 1


@contextmanager
def without_alembic() -> Iterator[None]:
    """Let an `RDBStorage` that is made meanwhile check its tables with `Versions`, which Optuna has no argument for."""
    rdb._VersionManager = Versions  # type: ignore[misc]
    try:
        yield
    finally:
        rdb._VersionManager = _USUAL  # type: ignore[misc]
