"""Samplers are Optuna's own, whatever is kept between them."""

from collections.abc import Callable
from dataclasses import replace

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import TrialState, create_trial

from pneumo_core.errors import UserError
from pneumo_core.specs import DenseSpec, TrialSpec
from search import factory
from search.factory import EachOnce, SharingTPESampler
from spaces.base import Parameter, Suggest
from studies.probing import probe
from studies.spec import SamplerSpec, StudySpec


def suggestions(sampler_of: Callable[[int], BaseSampler], n_trials: int, n_objectives: int) -> list[dict[str, object]]:
    study = optuna.create_study(directions=["maximize"] * n_objectives)
    for number in range(n_trials):
        study.sampler = sampler_of(number)
        trial = study.ask()
        x, deep = trial.suggest_float("x", 0, 1), trial.suggest_categorical("deep", [True, False])
        more = trial.suggest_int("more", 1, 9) if deep else 0
        trial.suggest_float("always_one", 1, 1)
        state = optuna.trial.TrialState.FAIL if number % 7 == 3 else None
        study.tell(trial, None if state else [x + more] * n_objectives, state=state)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("n_objectives", [1, 2])
def test_tpe_suggests_the_same_whoever_remembers_what_the_trials_share(n_objectives: int) -> None:
    spec, shared = SamplerSpec(kind="tpe", n_startup_trials=4), IntersectionSearchSpace(include_pruned=True)
    ours = suggestions(lambda seed: factory.sampler(spec, seed, {}, shared, sequence_seed=0), 20, n_objectives)
    optunas = suggestions(lambda seed: TPESampler(seed=seed, n_startup_trials=4), 20, n_objectives)
    assert ours == optunas


def test_what_comes_beyond_the_grid_did_not_fail() -> None:
    parameters = {"x": Parameter(kind="categorical", choices=(1, 2, 3))}
    study = optuna.create_study()
    for number in range(6):
        study.sampler = factory.sampler(
            SamplerSpec(kind="grid"), number, parameters, IntersectionSearchSpace(), sequence_seed=0
        )
        trial = study.ask()
        x = trial.suggest_categorical("x", (1, 2, 3))
        study.tell(trial, x if number else None, state=None if number else optuna.trial.TrialState.FAIL)
    first, *others = [trial.params["x"] for trial in study.trials]
    assert sorted([first, *others[:2]]) == [1, 2, 3]
    assert first not in others


def test_tpe_counts_a_configuration_with_its_stages_once() -> None:
    whole, staged = optuna.create_study(direction="maximize"), optuna.create_study(direction="maximize")
    space = {"x": FloatDistribution(0, 1)}
    for i in range(12):
        x = i / 12
        ended = create_trial(params={"x": x}, distributions=space, value=x)
        whole.add_trial(ended)
        pruned = {"state": TrialState.PRUNED, "intermediate_values": {0: 0.1 * x}}
        staged.add_trial(create_trial(params={"x": x}, distributions=space, **pruned))
        later = {"failed_trial": 2 * i, "retry_history": [2 * i]}
        staged.add_trial(create_trial(params={"x": x}, distributions=space, value=x, system_attrs=later))

    def suggested(study: optuna.Study) -> object:
        sampler = SharingTPESampler(IntersectionSearchSpace(), seed=3, n_startup_trials=12)
        study.sampler = sampler
        return study.ask(space).params

    assert suggested(staged) == suggested(whole)
    study = optuna.create_study(direction="maximize")
    study.add_trials(staged.trials[:12])  # 6 configurations are no start yet, though 12 trials ended
    assert len(EachOnce(study)._get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))) == 6


def test_a_parameter_that_the_first_trial_lacked_is_drawn_anew_by_each_point_of_a_sequence() -> None:
    study = optuna.create_study()
    shared = IntersectionSearchSpace()
    for number in range(12):
        study.sampler = factory.sampler(SamplerSpec(kind="qmc"), number, {}, shared, sequence_seed=0)
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        if number:
            trial.suggest_float("later", 0, 1)
        study.tell(trial, 0.0)
    for name in ("x", "later"):
        drawn = [trial.params[name] for trial in study.trials if name in trial.params]
        assert len(set(drawn)) == len(drawn), name


def a_space(suggest: Suggest) -> TrialSpec:
    suggest.suggest_float("x", 0, 1)
    return TrialSpec(model=DenseSpec())


def test_a_gaussian_process_needs_its_package_and_auto_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    spec = StudySpec(name="s", space=a_space, sampler=SamplerSpec(kind="gp"))
    found = probe(spec)
    with pytest.raises(UserError, match=r"pip install 'pneumo-search\[gp\]'"):
        factory.resolved(spec, found)
    auto = replace(spec, sampler=SamplerSpec(kind="auto"))
    assert factory.resolved(auto, found).kind == "tpe"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert factory.resolved(auto, found).kind == "gp"
    assert factory.resolved(auto, replace(found, conditional=frozenset({"x"}))).kind == "tpe"


def test_a_sampler_of_ones_own_is_seeded_anew_and_a_word_is_said() -> None:
    own = optuna.samplers.BruteForceSampler()
    shared = IntersectionSearchSpace()
    assert StudySpec(name="s", space=a_space, sampler=own).sampler is own
    assert "BruteForceSampler is not known to honour constraints" in factory.notes(own)[0]
    assert factory.notes(TPESampler()) == factory.notes(SamplerSpec()) == []
    random = optuna.samplers.RandomSampler()

    def first(seed: int) -> float:
        study = optuna.create_study(sampler=factory.sampler(random, seed, {}, shared, sequence_seed=0))
        return study.ask().suggest_float("x", 0, 1)

    assert first(3) == first(3) != first(4)
    with pytest.raises(ValueError, match="`sampler` must be a SamplerSpec, got 3"):
        StudySpec(name="s", space=a_space, sampler=3)
