"""``vigie completion``: what a shell needs to complete commands, options and names."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from vigie.commands.options import Flag, Language
from vigie.errors import ExitCode

SHELLS = ("bash", "zsh", "fish")
# Cyclopts writes a file to be autoloaded; this one may be sourced as well.
ZSH_END = """
if [[ $funcstack[1] == (_vigie|_cyclopts_vigie) ]]; then
  _cyclopts_vigie "$@"
else
  compdef _cyclopts_vigie vigie
fi
"""


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
    from vigie.commands.app import app

    script = app.generate_completion(prog_name="vigie", shell=shell)  # type: ignore[arg-type] # one of SHELLS
    print(script + (ZSH_END if shell == "zsh" else ""))
    return ExitCode.OK
