"""Spaces of hypermodels, with the real process that draws from them."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from pneumo_core import codec
from pneumo_core.errors import StudyError, TrialFailed
from pneumo_core.specs import KerasTunerSpec, TrialSpec
from pneumo_core.tuner.dialogue import Drawn
from spaces import keras_tuner as bridge
from spaces.base import Recorder
from spaces.keras_tuner import KerasTunerSpace, from_keras_tuner
from studies import load
from studies.probing import N_PROBES, probe
from studies.spec import StudySpec
from tests.commands import wait_for

MODELS = """
import itertools, keras, keras_tuner
from keras import layers

BUILT = itertools.count(1)

class Net(keras_tuner.HyperModel):
    def build(self, hp):
        kind = hp.Choice("kind", ["wide", "deep", "refused", "fatal", "broken", "changing", "dying", "new"])
        if kind == "refused":
            raise keras_tuner.errors.FailedTrialError("too slow")
        if kind == "fatal":
            raise keras_tuner.errors.FatalValueError("no licence")
        if kind == "dying":
            print("gone for good")
            import os; os._exit(7)
        model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten()])
        with hp.conditional_scope("kind", ["wide"]):
            units = hp.Int("units", 8, 16, step=4)
        with hp.conditional_scope("kind", ["deep"]):
            n_layers = hp.Int("layers", 1, 3)
        if kind == "changing":
            hp.Choice("a", [1, 2] if hp.Boolean("b") else [3, 4])
        if kind == "new":
            model.add(layers.Dense(next(BUILT)))
        for _ in range(n_layers or 1):
            model.add(layers.Dense(units or 4, activation="relu"))
        model.add(layers.Dense(3 if kind == "broken" else 1, activation="sigmoid"))
        model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 1e-1, sampling="log")), "binary_crossentropy")
        return model
"""


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KerasTunerSpace]:
    file = tmp_path_factory.mktemp("models") / "models.py"
    file.write_text(MODELS)
    made = from_keras_tuner(f"{file}:Net", epochs=3, batch_size=16)
    yield made
    assert made._helper is not None
    if made._helper._peer is not None:
        made._helper._peer.end()


def process_of(space: KerasTunerSpace) -> "subprocess.Popen[str]":
    assert space._helper is not None
    assert space._helper._peer is not None
    return space._helper._peer._process


def drawn(space: KerasTunerSpace, **given: Any) -> TrialSpec:
    return space(Recorder(given=given))


def test_a_draw_is_a_whole_trial_and_a_pure_function_of_what_was_suggested(space: KerasTunerSpace) -> None:
    recorder = Recorder(given={"kind": "wide", "units [kind=wide]": 12, "rate": 0.01})
    spec = space(recorder)
    assert isinstance(spec.model, KerasTunerSpec)
    assert spec.model.values == {"kind": "wide", "units": 12, "rate": 0.01}
    assert (spec.train.optimizer, spec.train.learning_rate, spec.train.epochs) == ("sgd", 0.01, 3)
    assert str(recorder.parameters["units [kind=wide]"]) == "int in [8, 16], step 4"
    assert codec.from_json(TrialSpec, codec.to_json(spec)) == spec
    space._known.clear()
    assert space(Recorder(given=recorder.values)) == spec


def test_what_was_drawn_is_remembered_up_to_where_the_answers_part(space: KerasTunerSpace) -> None:
    first = drawn(space, kind="deep", **{"layers [kind=deep]": 2, "rate": 0.01})
    os.kill(process_of(space).pid, signal.SIGSTOP)
    try:
        assert drawn(space, kind="deep", **{"layers [kind=deep]": 2, "rate": 0.01}) == first
    finally:
        os.kill(process_of(space).pid, signal.SIGCONT)
    other = drawn(space, kind="deep", **{"layers [kind=deep]": 3, "rate": 0.01})
    assert other.digest != first.digest


def test_it_runs_under_optuna_with_the_same_parameters(space: KerasTunerSpace) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial({"kind": "deep"})
    trial = study.ask()
    spec = space(trial)
    assert set(trial.params) == {"kind", "layers [kind=deep]", "rate"}
    assert space(Recorder(given=trial.params)) == spec


def test_kerastuners_errors_keep_their_meaning(space: KerasTunerSpace) -> None:
    with pytest.raises(TrialFailed, match="FailedTrialError: too slow") as failed:
        drawn(space, kind="refused")
    assert failed.value.reason == "failed_trial"
    with pytest.raises(StudyError, match="FatalValueError: no licence"):
        drawn(space, kind="fatal")
    with pytest.raises(ValueError, match=r"ends in sigmoid of shape \(None, 3\)"):
        drawn(space, kind="broken", rate=0.01)


def test_choices_that_change_from_model_to_model_are_an_error(space: KerasTunerSpace) -> None:
    drawn(space, kind="changing", b=True, a=1, rate=0.01)
    with pytest.raises(StudyError, match=r"`a` has the choices \[1, 2\] in one model and the choices \[3, 4\]"):
        drawn(space, kind="changing", b=False, a=3, rate=0.01)


def test_a_draw_that_is_given_up_doesn_t_disturb_the_next(space: KerasTunerSpace) -> None:
    space._known.clear()
    with pytest.raises(StudyError, match="`units"):
        drawn(space, kind="wide")
    assert drawn(space, kind="deep", **{"layers [kind=deep]": 1, "rate": 0.01}).train.learning_rate == 0.01


def test_a_study_is_checked_with_few_draws_and_lives_with_refused_ones(space: KerasTunerSpace) -> None:
    def known_good(suggest: Any) -> TrialSpec:
        kind = suggest.suggest_categorical("which", ["deep", "refused"])
        return space(Recorder(given={"kind": kind, "layers [kind=deep]": 1, "rate": 0.01}))

    study = StudySpec(name="x", space=known_good, enqueue=({"which": "refused"}, {"which": "deep"}))
    found = load.check(study).draws
    assert len({trial.digest for trial in found.trials}) == 1
    assert found.n_refused + len(found.trials) == N_PROBES
    assert "too slow" in found.refusal
    with pytest.raises(StudyError, match="none of 64 can be built, the last with: FailedTrialError: too slow"):
        probe(StudySpec(name="x", space=lambda suggest: drawn(space, kind="refused")))
    seen: list[int] = []
    counted = StudySpec(
        name="x", space=CountedSpace(seen, drawn(space, kind="deep", **{"layers [kind=deep]": 1, "rate": 0.01}))
    )
    probe(counted)
    assert len(seen) == 2 * 3  # each twice: it must give the same


class CountedSpace:
    n_probes = 3

    def __init__(self, seen: list[int], spec: TrialSpec) -> None:
        self.seen, self.spec = seen, spec

    def __call__(self, suggest: Any) -> TrialSpec:
        self.seen.append(suggest.suggest_int("x", 1, 9))
        return self.spec


def test_the_process_ends_with_python(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ndef build(hp):\n    hp.Choice('a', [1, 2])\n    time.sleep(600)\n")
    code = (
        "import sys, threading, time\n"
        "from spaces.keras_tuner import from_keras_tuner\n"
        "from spaces.base import Recorder\n"
        "space = from_keras_tuner('slow.py:build')\n"
        "threading.Thread(target=space, args=(Recorder(),), daemon=True).start()\n"
        "while not (space._helper and space._helper._peer): time.sleep(0.01)\n"
        "assert not {'keras', 'tensorflow', 'jax', 'keras_tuner'} & set(sys.modules)\n"
        "print(space._helper._peer._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(bridge.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        helper = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{helper}").exists() or is_zombie(helper), "the end of the helper")


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_reference_is_where_the_space_was_made(tmp_path: Path) -> None:
    text = (
        "from spaces.keras_tuner import from_keras_tuner\n"
        "from studies.spec import StudySpec\n"
        "def build(hp): pass\n"
        "MODEL = object()\n"
        "BY_NAME = from_keras_tuner(build)\n"
        "SPACE = from_keras_tuner(MODEL)\n"
        "OTHER = from_keras_tuner(object())\n"
        "NEIGHBOUR = from_keras_tuner('models.py:Net')\n"
        "STUDY = StudySpec(name='mine', space=from_keras_tuner(object()))\n"
        "LOST = [from_keras_tuner(object())]\n"
    )
    file = tmp_path / "mine.py"
    file.write_text(text)
    module = load._from_file(file)
    assert module.BY_NAME._reference() == (str(file), "build")
    assert module.SPACE._reference() == (str(file), "MODEL")
    assert module.OTHER._reference() == (str(file), "OTHER.hypermodel")
    assert module.STUDY.space._reference() == (str(file), "STUDY.space.hypermodel")
    assert module.NEIGHBOUR._reference() == (str(tmp_path / "models.py"), "Net")
    assert from_keras_tuner("keras_tuner.applications:HyperResNet")._reference() == (
        "keras_tuner.applications",
        "HyperResNet",
    )
    with pytest.raises(StudyError, match="must be in a variable of the file"):
        module.LOST[0]._reference()


def test_arguments_that_can_t_be_meant_are_named() -> None:
    with pytest.raises(StudyError, match="`epoch` is not a field of TrainSpec; did you mean 'epochs'"):
        from_keras_tuner("a:b", epoch=3)
    with pytest.raises(StudyError, match="'Net' must be written as 'module:Name'"):
        drawn(from_keras_tuner("Net"))
    names: dict[str, Any] = {"from_keras_tuner": from_keras_tuner}
    exec("space = from_keras_tuner(object())", names)  # noqa: S102  (a notebook has no file)
    with pytest.raises(StudyError, match="made in a notebook"):
        drawn(names["space"])
    gc.collect()


def test_a_misspelt_fixed_name_is_told_once_there_were_as_many_draws_as_probes(space: KerasTunerSpace) -> None:
    spec = drawn(space, kind="deep", **{"layers [kind=deep]": 1, "rate": 0.01})
    misspelt = from_keras_tuner("models.py:Net", fixed={"kind": "deep", "raet": 0.1})
    misspelt.n_probes = 2
    misspelt._check_fixed(Drawn(spec=spec))
    with pytest.raises(StudyError, match="`raet` is in no model; did you mean 'rate'"):
        misspelt._check_fixed(Drawn(spec=spec))


def test_a_hypermodel_that_builds_another_model_of_the_same_values_is_refused(space: KerasTunerSpace) -> None:
    space._is_pure = False  # as before its first model, which is built twice
    with pytest.raises(StudyError, match="builds another model when it gets the values"):
        drawn(space, kind="new", rate=0.01)


def test_a_process_that_was_killed_is_replaced_and_one_that_dies_of_the_draw_is_told(space: KerasTunerSpace) -> None:
    expected = drawn(space, kind="deep", **{"layers [kind=deep]": 1, "rate": 0.01})
    space._known.clear()
    old = process_of(space)
    old.kill()
    old.wait()
    assert drawn(space, kind="deep", **{"layers [kind=deep]": 1, "rate": 0.01}) == expected
    assert process_of(space).pid != old.pid
    with pytest.raises(StudyError, match=r"(?s)that builds Net ended with exit code 7.*gone for good"):
        drawn(space, kind="dying")
