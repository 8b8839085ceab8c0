"""`pneumo dashboard`: a study in the browser."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search.cli.options import HomeOption, NameOption, StorageOption, StudyArgument, existing_storage, study_name


def dashboard(
    study: StudyArgument,
    data: Annotated[
        str | None, typer.Option(metavar="SRC", help="The study's images; by default what its file names.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the loopback interface; 0 takes a free one.")] = 8080,
    storage: StorageOption = None,
    name: NameOption = None,
    home: HomeOption = Path("runs"),
) -> None:
    """Show a study in optuna-dashboard, with true feasibility, pictures of each trial and the definition as a note.

    It is served to this machine only, reads the database and never writes it, and follows a study that runs.
    Ctrl-C ends it.
    """
    from search import printing
    from search.cli.report import usual_source
    from search.dashboard import app, open
    from search.home import Home
    from search.storage.database import open_storage
    from search.study import load_study
    from search.watching.make import view_maker

    console, place = Console(stderr=True), Home(home)
    stored = load_study(name or study_name(study), open_storage(existing_storage(storage, home), create=False))
    with view_maker(console) as (_, progress):
        labels, why = open.find_labels(stored, place, data, usual_source(study), progress)
    if labels is None:
        printing.say(console, f"Without ROC, confusion matrix and errors: {why}")
    with app.server(open.dashboard(stored, place, labels), port) as server:
        printing.line(open.address(server.server_port, stored))
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            raise typer.Exit from None
