"""What was typed, read before it is understood: every start needs it, so nothing is imported."""

from __future__ import annotations

from collections.abc import Sequence


def take_option(arguments: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Return the first value of an option, and the arguments without it; what follows -- is kept.

    >>> take_option(["run", "--lang", "fr", "--quiet"], "--lang")
    ('fr', ['run', '--quiet'])
    """
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2], [*arguments[:place], *arguments[place + 1 :]]
        if argument == name and place + 1 < len(arguments):
            return arguments[place + 1], [*arguments[:place], *arguments[place + 2 :]]
    return None, list(arguments)
