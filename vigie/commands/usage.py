"""What is wrong with a command line, as vigie's other errors say it: what, where, fix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args, get_origin

from cyclopts.exceptions import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from vigie.errors import UsageError
from vigie.i18n import _
from vigie.names import MODES, STEP_NAMES, suggest, unknown_name, with_nearest


def usage_error(error: CycloptsError) -> UsageError:
    """Return what to show for an error of the command line's reading."""
    command = " ".join(["vigie", *(error.command_chain or ())])
    see = _("See: {command}").format(command=f"{command} --help")
    match error:
        case UnknownCommandError() if error.unused_tokens:
            return _unknown_command(error, command, see)
        case UnknownOptionError():
            option = error.token.keyword or error.token.value
            names = [name for one in error.argument_collection for name in one.names]
            return UsageError(
                _("There is no option {name}.").format(name=option),
                where=command,
                fix=with_nearest(see, option.split("=")[0], names),
            )
        case CoercionError() if error.token is not None:
            return _bad_value(error, command, see)
        case MissingArgumentError() if error.argument is not None:
            return _missing(error, command, see)
        case UnusedCliTokensError() if error.unused_tokens:
            return _too_much(error.unused_tokens[0], command, see)
    what = str(error).strip()
    if isinstance(error, RepeatArgumentError):
        what = _("{option} is given more than once.").format(option=error.token.keyword)
    return UsageError(what, where=command, fix=see)


def _unknown_command(error: UnknownCommandError, command: str, see: str) -> UsageError:
    assert error.unused_tokens
    known = [name for name in error.app or () if not name.startswith("-")]
    made = unknown_name(_("command"), error.unused_tokens[0], known, command)
    return UsageError(made.what, where=made.where, fix=f"{made.fix}\n{see}")


def _bad_value(error: CoercionError, command: str, see: str) -> UsageError:
    assert error.token is not None
    option = error.token.keyword or (error.argument.name if error.argument else "")
    value, wanted = error.token.value, error.target_type
    where = f"{command}, {option}" if option else command
    if get_origin(wanted) is Literal:
        made = unknown_name(_kind(option), value, _words(get_args(wanted)), where)
        return UsageError(made.what, where=where, fix=f"{made.fix}\n{see}")
    if wanted is int:
        what = _("{value!r} is not a whole number.")
    elif wanted is float:
        what = _("{value!r} is not a number.")
    else:
        what = _("{value!r} can't be understood.")
    return UsageError(what.format(value=value), where=where, fix=see)


def _kind(option: str) -> str:
    kinds = {
        "--mode": _("mode"),
        "--steps": _("step"),
        "--force": _("step"),
        "--skip-check": _("check"),
        "--lang": _("language"),
        "SHELL": _("shell"),
    }
    return kinds.get(option, _("value"))


def _words(names: Iterable[object]) -> list[str]:
    return [str(name) for name in names]


def _missing(error: MissingArgumentError, command: str, see: str) -> UsageError:
    assert error.argument is not None
    name = error.keyword or error.argument.name
    if name.startswith("-") and error.argument.field_info.is_keyword_only:
        what = _("{option} needs a value.").format(option=name)
    else:
        what = _("{name} is missing.").format(name=name.lstrip("-").upper())
    return UsageError(what, where=command, fix=see)


def _too_much(word: str, command: str, see: str) -> UsageError:
    nearest = suggest(word, (*MODES, *STEP_NAMES)) if command == "vigie run" else None
    meant = f"{command} --{'mode' if nearest in MODES else 'steps'} {nearest}" if nearest else ""
    fix = _("Did you mean {nearest}?").format(nearest=meant) + " " + see if meant else see
    return UsageError(_("{word!r} is not expected here.").format(word=word), where=command, fix=fix)
