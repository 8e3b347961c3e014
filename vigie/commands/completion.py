"""``vigie completion``: what a shell needs to complete commands, options and names."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from vigie.commands.options import Flag, Language
from vigie.errors import ExitCode

SHELLS = ("bash", "zsh", "fish")


def completion(
    shell: Annotated[str, Parameter(choices=SHELLS)],
    /,
    *,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Print what makes bash, zsh or fish complete vigie's commands and options.

    What is printed is a script for the shell to read at its start; it changes nothing by itself.
    Modes, steps and checks are completed too, and paths where one is asked for.

    Parameters
    ----------
    shell
        The shell that is to read it.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.commands.table import app

    print(app.generate_completion(prog_name="vigie", shell=shell))  # type: ignore[arg-type] # one of SHELLS
    return ExitCode.OK
