"""Arguments and options that several commands share, and their exit codes."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pneumo_core.errors import UserError
from search.duration import parse_duration

if TYPE_CHECKING:
    import optuna

    from search.executors.devices import Machine
    from search.home import Home

DONE, FAILED, WRONG_USE, NOT_FEASIBLE, INTERRUPTED = 0, 1, 2, 3, 130
HOME = Path("runs")


class Group(TyperGroup):
    """A group of commands that shows the help of one without importing pydantic, which takes a tenth of a second.

    Typer converts with pydantic whatever is neither True nor False, and its own flags (`--help` and those of
    completion) are None when they aren't given.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        found: list[Any] = super().get_params(ctx)
        for option in found:
            if getattr(option, "is_flag", False) and option.default is None:
                option.default = False
        return found


def at_least_one(option: typer.CallbackParam, value: int | None) -> int | None:
    """Return an option's value; raises `UserError` below 1."""
    if value is not None and value < 1:
        raise UserError(f"{option.opts[0]} must be at least 1, got {value}")
    return value


def duration(help_text: str, *, metavar: str = "2h", default: str | None = None) -> Any:
    """Return an option whose text, such as 90s, becomes seconds; `default` is shown."""

    def seconds(option: typer.CallbackParam, text: str | None) -> float | None:
        try:
            return None if text is None else parse_duration(text)
        except ValueError as error:
            raise UserError(f"{option.opts[0]}: {error}") from error

    return typer.Option(parser=str, callback=seconds, help=help_text, metavar=metavar, show_default=default or False)


StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="A name from `pneumo studies`, or a study file.")]
SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="A folder with NORMAL/ and PNEUMONIA/ (with or without train/ val/ test/ above), a folder and --labels, "
        "a .npz, or `phantom`.",
    ),
]
HomeOption = Annotated[
    Path,
    typer.Option("--home", envvar="PNEUMO_HOME", help="Folder of database, caches, checkpoints, logs.", metavar="DIR"),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="PNEUMO_STORAGE",
        help="Database URL, or env:NAME or file:PATH that holds one. Default: SQLite in the home folder.",
        metavar="URL",
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", help="Store or find the study under this name.", metavar="NAME"),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress, only the outcome.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Also print a line after each epoch.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object last on standard output.")]
ProtocolOption = Annotated[
    str | None,
    typer.Option(help="patient_grouped, or per_image_random, which LEAKS patients: only to compare with old results."),
]


def verbosity(quiet: bool, verbose: bool = False) -> int:
    """Return what `view_maker` takes. Raises `UserError` for both at once."""
    if quiet and verbose:
        raise UserError("--quiet and --verbose exclude each other")
    return verbose - quiet


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Which study, and where it is stored."""

    study: StudyArgument
    storage: StorageOption = None
    name: NameOption = None
    home: HomeOption = HOME

    @property
    def place(self) -> "Home":
        from search.home import Home

        return Home(self.home)

    @property
    def url(self) -> str:
        return self.storage or self.place.storage_url

    @property
    def stored_name(self) -> str:
        """Return the name under which it is stored: that in the study file, else the argument itself."""
        from studies import load

        return self.name or (load.read(self.study).name if self.study.endswith(".py") else self.study)

    @property
    def usual_source(self) -> str | None:
        """Return the images that the study's file names; None where there is no such file here, or it names none."""
        from studies import load

        known = self.study.endswith(".py") or self.study in load.names()
        return load.read(self.study).data.source if known else None

    def load(self) -> "optuna.Study":
        """Return the stored study. Raises `UserError`s where it isn't there."""
        from search.storage.database import open_storage
        from search.study import load_study

        return load_study(self.stored_name, open_storage(self.url, create=False))


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyAndImages(StudyOptions):
    """A stored study, and where its images are now."""

    data: Annotated[
        str | None, typer.Option(metavar="SRC", help="The study's images. Default: those that its file names.")
    ] = None

    @property
    def source(self) -> str | None:
        return self.data or self.usual_source


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """What one training runs on."""

    device: Annotated[str, typer.Option(help="auto, cpu, or GPU numbers such as 0,1.")] = "auto"
    backend: Annotated[str | None, typer.Option(help="tensorflow or jax. Default: $KERAS_BACKEND.")] = None

    @property
    def machine(self) -> "Machine":
        from search.executors.devices import Machine

        return Machine(**vars(self))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingOptions(DeviceOptions):
    """What several trainings run on."""

    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            envvar="PNEUMO_WORKERS",
            callback=at_least_one,
            help="Trials to run in parallel. Default for a search on a CPU: one per core, at most four, as many as fit "
            "into the free memory. A search that must repeat exactly needs 1.",
        ),
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineOptions(TrainingOptions):
    """Where a search runs, and when one of its trials is stopped."""

    on: Annotated[str, typer.Option(metavar="local|ray[://HOST]", help="This machine, or a Ray cluster.")] = "local"
    trials_per_gpu: Annotated[
        int, typer.Option(metavar="K", callback=at_least_one, help="Trials that share a GPU.")
    ] = 1
    hang_timeout: Annotated[
        float | None, duration("Kill a trial that finishes no epoch within this time.", default="30m")
    ] = None
    trial_timeout: Annotated[float | None, duration("Kill a trial that takes longer.")] = None

    @property
    def machine(self) -> "Machine":
        from search.executors.devices import Machine
        from search.executors.local import Limits

        given = {f"{name}_s": getattr(self, name) for name in ("hang_timeout", "trial_timeout")}
        limits = Limits(**{name: value for name, value in given.items() if value is not None})
        others = {name: value for name, value in vars(self).items() if f"{name}_s" not in given}
        return Machine(**others, limits=limits)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` with the fields of a dataclass as options in the place of each parameter of that type."""
    own = inspect.signature(command, eval_str=True).parameters.values()
    groups: dict[str, Any] = {each.name: each.annotation for each in own if dataclasses.is_dataclass(each.annotation)}
    fields = {name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()}
    options = [option for each in own for option in (fields[each.name].values() if each.name in groups else [each])]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        made = {name: group(**{each: given.pop(each) for each in fields[name]}) for name, group in groups.items()}
        command(**made, **given)

    keyword = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
    run.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in keyword}
    return run
