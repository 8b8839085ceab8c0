import sys
from pathlib import Path

import pytest

from pneumo_core.errors import StudyError
from pneumo_core.specs import DenseSpec, TrialSpec
from studies import load
from studies.probing import N_PROBES
from studies.spec import StudySpec

GOOD = """
from pneumo_core.specs import DenseSpec, TrialSpec
from studies.spec import BudgetSpec, PrunerSpec, SamplerSpec, StudySpec

def space(suggest):
    return TrialSpec(model=DenseSpec(units=(suggest.suggest_int("units_1", 1, 9),)))

STUDY = StudySpec(name="mine", space=space)
"""


def write(folder: Path, text: str) -> str:
    file = folder / "mine.py"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("name", load.names())
def test_every_study_of_the_package_is_valid_and_named_as_its_file(name: str) -> None:
    checked = load.load(name)
    study, found = checked.spec, checked.draws
    assert study.name == name
    assert study.description
    assert (len(found.trials), found.n_refused) == (getattr(study.space, "n_probes", N_PROBES), 0)


def test_the_studies_that_the_readme_names_are_there() -> None:
    assert {"quickstart", "dense", "cnn", "backbones", "original_models"} <= set(load.names())


def test_a_file_is_a_study(tmp_path: Path) -> None:
    assert load.load(write(tmp_path, GOOD)).spec.name == "mine"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def space(suggest):", "def space(suggest)", ["SyntaxError", "line 5"]),
        ("STUDY =", "STUDIE =", ["STUDY"]),
        ("space=space", "space=3", ["`space`", "int"]),
        ("units=(sug", "unitz=(sug", ["unitz"]),
        ('"units_1", 1, 9', '"units_1", -9, 0', ["units", "none of 64 can be built", "got (-"]),
        ('"units_1", 1, 9', '"unit_1, 1, 9', ["SyntaxError"]),
        ("TrialSpec(model=", "dict(model=", ["TrialSpec", "dict"]),
        ('name="mine"', 'name="a/b"', ["name", "a/b"]),
        ("space=space", "space=space, sampler=SamplerSpec(kind='tpee')", ["tpee", "did you mean 'tpe'"]),
        ("space=space", "space=space, sampler=SamplerSpec(kind='cmaes')", ["cmaes", "constraints", "tpe"]),
        ("space=space", "space=space, pruner=PrunerSpec(kind='hyperbnd')", ["hyperbnd", "did you mean 'hyperband'"]),
        ("space=space", "space=space, budget=BudgetSpec(trials=0)", ["trials", "0"]),
        ("space=space", "space=space, budget=12", ["`budget`", "BudgetSpec", "12"]),
        ("space=space", "space=space, enqueue=({'units_1': 10},)", ["enqueue[0]", "units_1", "10"]),
        ("space=space", "space=space, enqueue=({'units': 1},)", ["enqueue[0]", "units_1"]),
        ("space=space", "space=space, enqueue=({'units_1': 1, 'unit_2': 1},)", ["enqueue[0]", "unit_2"]),
        ("import DenseSpec", "import DensSpec", ["DensSpec"]),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, said: list[str]) -> None:
    assert old in GOOD
    with pytest.raises(StudyError) as caught:
        load.load(write(tmp_path, GOOD.replace(old, new)))
    message = str(caught.value)
    assert all(word in message for word in said), message


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(StudyError, match="did you mean 'quickstart'"):
        load.load("quikstart")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(StudyError, match=r"nowhere\.py does not exist"):
        load.load("nowhere.py")


RUDE: dict[str, tuple[str, str]] = {
    "the file ends the program": ("import sys\nsys.exit(0)\n" + GOOD, "ends the program"),
    "the space ends the program": (
        GOOD.replace("    return", "    raise SystemExit(0)\n    return"),
        "ends the program",
    ),
    "a metric ends the program": (
        GOOD.replace("space=space)", "space=space, metrics={'mine': lambda y, scores, threshold: exit(0)})"),
        "ends the program",
    ),
    "an error that has no text": (
        "class Mute(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Mute\n",
        "Mute: .*`__str__` raises RuntimeError",
    ),
}


@pytest.mark.parametrize(("text", "message"), RUDE.values(), ids=RUDE)
def test_code_that_ends_the_program_is_an_error_in_the_study(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load.load(write(tmp_path, text))


def test_a_file_imports_modules_beside_it_but_they_hide_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_the_study.py").write_text(GOOD.split("STUDY =")[0])
    (tmp_path / "studies.py").write_text("raise RuntimeError")
    text = "from beside_the_study import space\nfrom studies.spec import StudySpec\n" + GOOD[GOOD.index("STUDY =") :]
    assert load.load(write(tmp_path, text)).spec.name == "mine"


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a\\b", "x" * 101, "é" * 60, "a\nb", "\x1b[31m", "", " a"])
def test_a_name_that_can_name_no_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="`name` must name a folder"):
        StudySpec(name=name, space=lambda suggest: TrialSpec(model=DenseSpec()))


def test_names_in_any_language_are_fine() -> None:
    assert StudySpec(name="Röntgen 1 [b]x", space=lambda suggest: TrialSpec(model=DenseSpec())).name
