"""What `finalize` makes of its options before it begins."""

from pathlib import Path

import pytest

from pneumo_core.wire import ScoreRole
from search import fingerprint
from search.executors.devices import Machine
from search.finalizing.finalize import Finalizer, Options
from search.finalizing.jobs import Jobs
from search.finalizing.make import make_bundle
from tests.search.finalizing.made import stored


def test_kept_answers_are_of_one_program_and_one_backend(
    tmp_path: Path, phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, home = stored(tmp_path, phantoms, (0.2,))
    made: list[Jobs] = []
    monkeypatch.setattr(Finalizer, "run", lambda self, _out: made.append(self.jobs))
    model = tmp_path / "a.keras"
    model.write_text("a model")
    task = ScoreRole(number=0, model=str(model), arrays="arrays", role="test")

    def name(backend: str) -> str:
        make_bundle(
            "made-up",
            out=tmp_path / "b",
            source=str(phantoms),
            options=Options(),
            storage_url=home.storage_url,
            home=home,
            machine=Machine(device="cpu", backend=backend),
            say=print,
        )
        return made[-1].identity(task)

    first = name("tensorflow")
    assert name("tensorflow") == first != name("jax")
    monkeypatch.setattr(fingerprint, "of_code", lambda: {"code": {"pneumo_core": "newer"}})
    assert name("tensorflow") != first
