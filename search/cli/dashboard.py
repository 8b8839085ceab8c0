"""`pneumo dashboard`: a study in the browser."""

from typing import Annotated

import typer
from rich.console import Console

from search.cli.options import StudyAndImages, grouped


@grouped
def dashboard(
    stored: StudyAndImages,
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the loopback interface. 0 takes a free one.")] = 8080,
) -> None:
    """Show a study in optuna-dashboard, with true feasibility, pictures of each trial and the definition as a note.

    It serves this machine only, follows a running study, and never writes to the database. Ctrl-C ends it.
    """
    from search import printing
    from search.dashboard import app, open
    from search.watching.make import view_maker

    console, study = Console(stderr=True), stored.load()
    with view_maker(console) as (_, progress):
        labels, why = open.find_labels(study, stored.place, stored.data, stored.usual_source, progress)
    if labels is None:
        printing.say(console, f"Without ROC, confusion matrix and errors: {why}")
    with app.server(open.dashboard(study, stored.place, labels), port) as server:
        printing.line(open.address(server.server_port, study))
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            raise typer.Exit from None
