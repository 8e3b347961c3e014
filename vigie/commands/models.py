"""``vigie models`` and ``vigie rollback``: the models that were made, and which one is used."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from vigie.commands.options import (
    Flag,
    Language,
    Mode,
    Project,
    mode_paths,
    open_project,
    print_json,
)
from vigie.errors import ExitCode
from vigie.i18n import _

if TYPE_CHECKING:
    from vigie.history.model_versions import ModelSummary
    from vigie.history.rollback import Rollback


def models(
    *,
    mode: Mode = "dev",
    json: Flag = False,
    project: Project = None,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """List the models that were made, newest first; * marks the current one.

    Parameters
    ----------
    mode
        dev or prod.
    json
        Print JSON.
    project
        Folder of the project.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.history.model_versions import summarize_models

    found = summarize_models(mode_paths(open_project(project, lang), mode))
    if json:
        records = [one.to_record() for one in found]
        print_json(records)
    else:
        for line in _table(found):
            print(line)
    return ExitCode.OK


def rollback(
    version: str | None = None,
    *,
    mode: Mode = "dev",
    project: Project = None,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Make an earlier model the current one; the next run evaluates and predicts with it.

    Training is skipped until data, settings or code change. To train at once:
    vigie run --force train

    Parameters
    ----------
    version
        A model's version or time stamp, or its beginning (default: the one before the current).
    mode
        dev or prod.
    project
        Folder of the project.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.history.rollback import roll_back

    paths = mode_paths(open_project(project, lang), mode)
    done = roll_back(paths, version, command=shlex.join(sys.argv))
    for line in _told(done, mode):
        print(line)
    return ExitCode.OK


def _table(found: list[ModelSummary]) -> list[str]:
    if not found:
        return [_("No model has been made yet.")]
    heads = (
        _("VERSION"),
        _("TIME STAMP"),
        _("DATA"),
        _("CV AUC"),
        _("AUC"),
        _("DAY"),
        _("ROWS"),
        _("MB"),
    )
    wide = max(len(_("DATA")), *(len(one.dataset or "–") for one in found))
    shape = "{:<1} {:<16}  {:<16}  {:<" + str(wide) + "}  {:>6}  {:>6}  {:>4}  {:>8}  {:>6}  {}"
    lines = [shape.format("", *heads, "")]
    lines += [
        shape.format(
            "*" if one.current else "",
            one.version or "–",
            one.stamp,
            one.dataset or "–",
            _number(one.cv_auc, "{:.3f}"),
            _number(one.holdout_auc, "{:.3f}"),
            _number(one.cutoff_days, "{}"),
            _number(one.rows, "{:,}"),
            _number(one.size_bytes and one.size_bytes / 1e6, "{:.1f}"),
            _remark(one),
        )
        for one in found
    ]
    return [line.rstrip() for line in lines]


def _remark(one: ModelSummary) -> str:
    if one.problem:
        return _("not whole: {name}").format(name=one.problem)
    return _("turned down") if one.turned_down else ""


def _number(value: float | None, shape: str) -> str:
    return "–" if value is None else shape.format(value)


def _told(done: Rollback, mode: str) -> list[str]:
    model, again = done.model, f"vigie run --mode {mode}"
    lines = [
        _("{version}, trained on {when}, is the current model now; before: {replaced}").format(
            version=model.version,
            when=str(model.metadata.get("trained_at", model.stamp))[:16].replace("T", " "),
            replaced=done.replaced or "–",
        )
    ]
    lines += [f"   {note}" for note in done.notes]
    if done.misfit:
        lines.append(done.misfit)
        lines.append(
            _("A run on the data and with the settings of its training uses it; any other trains.")
        )
    elif done.kept:
        lines.append(_("Evaluate and predict with it: {command}").format(command=again))
        lines.append(_("Train anew instead: {command}").format(command=f"{again} --force train"))
    else:
        lines.append(
            _("The next run trains anew: the files before were not those of a recorded training.")
        )
    return lines
