"""The command ``widthlaw`` and what its commands have in common."""

import re
from importlib.metadata import version
from typing import Annotated, Literal

from cyclopts import App, Parameter

from infra.store.storage import tell

app = App(
    name="widthlaw", help="Laws of training neural networks, from recorded trainings.", version=version("widthlaw")
)

Results = Annotated[str, Parameter(help="Results folder: a path, or a URI such as s3://bucket/du.")]
Json = Annotated[bool, Parameter(help="Print JSON.", negative="")]
Uri = Annotated[str | None, Parameter(help="MLflow; default MLFLOW_TRACKING_URI, else RESULTS/mlflow.db.")]


@app.command
def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="Of which shell.")], /) -> None:
    """Print a shell's completion of this command's words, to be kept in a file that the shell reads as it starts (a
    start of this command takes seconds): widthlaw completion bash > ~/.local/share/bash-completion/completions/widthlaw
    """
    text = app.generate_completion(shell=shell).replace("complete -F ", "complete -o default -F ")  # files, as before
    text = re.sub(r"('\d:Results folder(?:\\.|[^'])*)'", r"\1:_files'", text)
    tell(re.sub(r":(paper|out|page)'", r":\1:_files'", text))
