"""The benchmarks run, at sizes at which their figures mean nothing."""

import importlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import factors, gpu, measure, search
from benchmarks.measure import Row
from benchmarks.search import Finished, Ran
from pneumo_core.specs import CnnSpec, DataSpec, TrialSpec
from tests.pneumo_core.pictures import folder


def ran(
    name: str, arguments: Sequence[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, Any]]:
    file = tmp_path / "rows.json"
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments), "--json", str(file)])
    importlib.import_module(f"benchmarks.{name}").main()
    found = json.loads(file.read_text("utf-8"))
    assert found["environment"]["date"]
    rows: list[dict[str, Any]] = found["rows"]
    return rows


def median(rows: list[dict[str, Any]], name: str) -> float:
    (found,) = (row["median"] for row in rows if row["name"] == name)
    return float(found)


def test_sides_take_turns_and_each_is_first_once() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = measure.in_turn({name: lambda name=name: side(name) for name in "ab"}, 2)  # type: ignore[misc]

    assert "".join(order) == "abba"
    assert found == {"a": (1.0, 4.0), "b": (2.0, 3.0)}
    assert measure.ratios(found["b"], found["a"]) == (2.0, 0.75)


def test_a_table_shows_medians_and_spread() -> None:
    text = measure.table([Row(name="one", values=(3.0, 1.0, 2.0)), Row(name="other", values=(4.0,), unit="GB")])

    assert "| one (s) | 2 | 1 to 3 |" in text
    assert "| other (GB) | 4 |  |" in text


def test_scanning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ran("scanning", [folder(tmp_path / "images", 8), "--repeats", 1], tmp_path, monkeypatch)
    assert [row["name"] for row in rows][:4] == ["threads", "helpers", "look-alikes", "altered copies"]
    assert median(rows, "helpers") > 0


def test_ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = folder(tmp_path / "images", 8)
    options = ["--images", 24, "--size", 16, "--repeats", 1]

    rows = ran("ingest", [images, *options], tmp_path, monkeypatch)

    assert median(rows, "ours, scan to arrays") > median(rows, "ours, nothing added") > 0


def test_training(tmp_path: Path, phantoms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ran("training", [phantoms, "--networks", 0, "--images", 64, "--repeats", 1], tmp_path, monkeypatch)

    assert median(rows, "speed of ours, float32 ÷ model.fit") > 0
    assert 0 <= median(rows, "auc of bare loop") <= 1


def test_factors_judge_a_training_pooled_and_framed(tmp_path: Path, phantoms: Path) -> None:
    small = replace(factors.TRAIN, epochs=2, steps_per_epoch=2, warmup_epochs=0.0)
    spec = TrialSpec(data=DataSpec(image_size_px=16), model=CnnSpec(filters=(4,)), train=small)
    job = factors.Job(name="small", spec=spec, seed=0, source=str(phantoms), home=tmp_path)

    found = factors.judged(job)

    assert 0 <= found["framed_specificity"] <= 1
    rows = [found | {"name": "worse", "framed_auc": found["framed_auc"] - 0.1}, found | {"name": "better"}]
    assert [line.split("|")[1].strip() for line in factors.table(rows).splitlines()[2:]] == ["better", "worse"]
    for row in rows:
        row |= {
            "pooled_auc": row["framed_auc"],
            "pooled_specificity": row["framed_auc"],
            "clean_auc": -row["framed_auc"],
        }
    assert "over 2 trainings: pooled_auc 1.00, clean_auc -1.00" in factors.ranked_by(rows)


@pytest.mark.slow
def test_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--backbones", "MobileNetV2", "--size", 32, "--batch", 2, "--repeats", 1]
    rows = ran("precision", options, tmp_path, monkeypatch)

    assert median(rows, "MobileNetV2: training, float32") > 0
    assert median(rows, "MobileNetV2: scoring, mixed_bfloat16") > 0


def test_gpu_measures_a_network_and_whole_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = gpu.Case(model=CnnSpec(filters=(3,)), side_px=16, batch=16)
    monkeypatch.setitem(gpu.CASES, "tiny", tiny)

    found = {row.name: row for row in gpu.network_rows("tiny", "float32", n_images=32, seconds=0.0, repeats=2)}

    for side in ("ours", "ours, augmented", "bare loop", "scoring"):
        assert len(found[f"tiny, float32: {side}"].values) == 2
        assert min(found[f"tiny, float32: {side}"].values) > 0
    assert found["tiny, float32: to compile, ours"].unit == "s"


def test_gpu_takes_the_time_of_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gpu.WHOLE, "tiny", CnnSpec(filters=(3,)))
    for name, value in {"PX": 16, "IMAGES": 64, "VALIDATION": 32, "EPOCHS": 3}.items():
        monkeypatch.setattr(gpu, f"WHOLE_{name}", value)

    found = gpu.fitted("tiny", "float32", tmp_path, seed=1)

    assert 0 < found["first_s"] < found["trial_s"]
    assert len(found["epochs_s"]) == 2


@pytest.mark.slow
def test_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--networks", "plain-64", "--precisions", "float32", "--images", 128, "--seconds", 0, "--repeats", 1]
    rows = ran("gpu", [*options, "--trainers", "1,2", "--trials", 1, "--whole", ""], tmp_path, monkeypatch)

    assert median(rows, "plain-64, float32: bare loop") > 0
    assert median(rows, "2 trainers: trials an hour") > 0


@pytest.mark.slow
def test_fused(tmp_path: Path) -> None:
    file, options = tmp_path / "rows.json", ["--steps", "1", "--batches", "4", "--trials", "2", "--images", "16"]
    command = [sys.executable, "-m", "benchmarks.fused", *options, "--json", str(file)]
    subprocess.run(command, env=os.environ | {"KERAS_BACKEND": "jax"}, check=True, timeout=600)

    found = json.loads(file.read_text("utf-8"))["rows"]
    assert [row["name"].rpartition(" 2 ")[2] for row in found] == ["in turn", "fused", "fused products"]


def test_the_mean_time_to_a_good_trial_is_that_of_all_orders() -> None:
    took_s, pauc = (1.0, 5.0, 2.0, 7.0), (0.1, 0.9, 0.2, 0.8)
    trials = tuple(
        Finished(after_s=sum(took_s[: i + 1]), pauc=value, standard_error=0.0) for i, value in enumerate(pauc)
    )
    found = Ran(wall_s=15.0, cpu_s=15.0, peak_bytes=1, trials=trials)

    def time_in(order: Sequence[int]) -> float:
        first = next(place for place, i in enumerate(order) if pauc[i] >= 0.8)
        return sum(took_s[i] for i in order[: first + 1])

    times = [time_in(order) for order in itertools.permutations(range(4))]
    assert found.mean_time_to(0.8) == pytest.approx(sum(times) / len(times))
    assert found.mean_time_to(0.95) == float("inf")


def test_a_failing_arm_costs_no_other_arm_its_figures(tmp_path: Path) -> None:
    file = tmp_path / "runs.json"
    trials = (Finished(after_s=1.0, pauc=0.5, standard_error=0.1),)

    def run(name: str, repetition: int) -> Ran:
        if name == "optuna":
            raise search.ArmFailed("ended with 1")
        return Ran(wall_s=2.0, cpu_s=2.0, peak_bytes=1, trials=trials)

    found, failure = search.run_in_turn(run, ["ours", "keras_tuner", "optuna"], 1, file)

    assert failure == "optuna: ended with 1"
    assert list(json.loads(file.read_text("utf-8"))["runs"]) == ["ours", "keras_tuner"]
    assert any(row.name == "wall time ours ÷ keras_tuner" for row in search.summarised(found))


def test_what_an_arm_lacks_is_said_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(search.NEEDS, "keras_tuner", ("keras_tuner", "no_such_package"))

    with pytest.raises(SystemExit, match="pip install no_such_package"):
        search.check_arms(["ours", "keras_tuner"])
    with pytest.raises(SystemExit, match="there is no our;"):
        search.check_arms(["our"])


@pytest.mark.slow
def test_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ran("search", ["phantom", "--trials", 1, "--epochs", 3], tmp_path, monkeypatch)

    assert median(rows, "wall time ours ÷ keras_tuner") > 0
    assert median(rows, "optuna: peak memory") > 0.1


@pytest.mark.slow
def test_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ran("side_by_side", ["quickstart", "phantom", "--trials", 2], tmp_path, monkeypatch)

    assert median(rows, "trials an hour 2 ÷ 1") > 0
    assert median(rows, "2 trainers: peak memory") > 0


@pytest.mark.slow
def test_overhead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ran("overhead", ["phantom", "--trials", 2, "--stored", 20, "--repeats", 1], tmp_path, monkeypatch)

    assert 0 < median(rows, "child waits, of a search") < 100
    assert median(rows, "to the first step, warm") < median(rows, "to the first step, cold")
