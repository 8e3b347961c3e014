"""``vigie sweep`` and ``vigie compare``: how early, and by which kind of model, one can know."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vigie.commands.options import ConfigFile, Flag, Language, Mode, Project, print_json
from vigie.i18n import _

if TYPE_CHECKING:
    from pathlib import Path

    from vigie.pipeline.options import RunOptions
    from vigie.pipeline.sweep import SweepPoint

Days = Annotated[list[int] | None, Parameter(consume_multiple=True, negative=())]


def sweep(
    *,
    cutoff_days: Days = None,
    mode: Mode = "dev",
    project: Project = None,
    config: ConfigFile = None,
    json: Flag = False,
    wait: float = 0.0,
    lang: Language = None,
    debug: Flag = False,
) -> int:
    """Train and evaluate at several cut-offs, to see how early one can know.

    Nothing that runs have made is touched. The figures go to reports/sweep_{mode}.json and
    reports/sweep_{mode}.png. What has not changed is not done again; after a kill the same command
    goes on where it stopped.

    Parameters
    ----------
    cutoff_days
        The days (default: every 30 days from 0 to the cut-off of the settings).
    mode
        dev: on a sample; prod: everything.
    project
        Folder of the project (default: the nearest one with a vigie.toml, else this folder).
    config
        Settings file instead of vigie.toml.
    json
        Print JSON, the same as in the report.
    wait
        Wait so many seconds for a run of the same mode to end.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.pipeline.sweep import sweep as run_sweep

    options = _options(mode, project, config, lang, wait=wait, quiet=json, debug=debug)

    def on_start(kind: str) -> None:
        if not json:
            print(_("{kind}, judged at each cut-off on rows it never saw").format(kind=kind))
            print(_sweep_heads(), flush=True)

    def on_point(point: SweepPoint) -> None:
        if not json:
            print(_sweep_line(point), flush=True)

    done = run_sweep(options, cutoff_days, on_start=on_start, on_point=on_point)
    if json:
        print_json(done.document)
    else:
        for suffix in ("json", "png"):
            print(f"   • reports/sweep_{mode}.{suffix}")
    return done.exit_code


def compare(
    kinds: Annotated[list[str] | None, Parameter(negative=())] = None,
    /,
    *,
    cutoff_days: int | None = None,
    mode: Mode = "dev",
    project: Project = None,
    config: ConfigFile = None,
    json: Flag = False,
    wait: float = 0.0,
    lang: Language = None,
    debug: Flag = False,
) -> int:
    """Judge kinds of model on the same folds and the same hold-out, and say which is best.

    No model is replaced. The figures go to reports/comparison_{mode}.json. The best is chosen by
    cross-validation; the hold-out tells how good it is.

    Parameters
    ----------
    kinds
        random_forest, extra_trees, hist_gradient_boosting, logistic_regression (default: these
        four), or import paths of scikit-learn classifiers.
    cutoff_days
        The day at which everybody is looked at (default: that of the settings).
    mode
        dev: on a sample; prod: everything.
    project
        Folder of the project (default: the nearest one with a vigie.toml, else this folder).
    config
        Settings file instead of vigie.toml.
    json
        Print JSON, the same as in the report.
    wait
        Wait so many seconds for a run of the same mode to end.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.errors import ExitCode
    from vigie.pipeline.compare import compare as run_compare

    options = _options(
        mode, project, config, lang, wait=wait, quiet=json, debug=debug, cutoff_days=cutoff_days
    )

    def on_start() -> None:
        if not json:
            print(_("Judged on the same folds and the same hold-out:"), flush=True)

    found = run_compare(options, tuple(kinds or ()), on_start=on_start)
    if json:
        print_json({key: value for key, value in found.items() if key != "current"})
    else:
        print("\n".join([*_comparison_table(found), *_verdict(found)]))
        print(f"   • reports/comparison_{mode}.json")
    return ExitCode.OK


def _options(
    mode: str,
    project: Path | None,
    config: Path | None,
    lang: str | None,
    *,
    wait: float,
    quiet: bool,
    debug: bool,
    cutoff_days: int | None = None,
) -> RunOptions:
    from vigie.pipeline.options import RunOptions

    return RunOptions(
        mode=mode,
        cutoff_days=cutoff_days,
        project=project,
        config=config,
        lang=lang,
        quiet=quiet,
        debug=debug,
        wait_seconds=wait,
        command=tuple(sys.argv),
    )


# --- sweep -----------------------------------------------------------------------------------

_SWEEP = "{:>5}  {:>7}  {:<22}  {:<20}  {:<20}  {:>15}  {:>11}  {}"


def _sweep_heads() -> str:
    return _SWEEP.format(
        _("DAY"), _("ROWS"), _("AUC"), _("LOGISTIC REGRESSION"), _("EVERYBODY"), _("CV"),
        _("CALIBRATION"), "",
    ).rstrip()  # fmt: skip


def _sweep_line(point: SweepPoint) -> str:
    found = point.content
    if point.error is not None:
        return f"{found['cutoff_days']:>5}  ❌ {found['error']}"
    holdout, everybody = found["holdout"], found["everybody"]
    return _SWEEP.format(
        found["cutoff_days"],
        f"{holdout['rows']:,}",
        _interval(holdout["roc_auc"]),
        _interval(found["logistic_regression"]["roc_auc"]),
        _interval(everybody["roc_auc"]) if everybody else "–",
        _spread(found["cross_validation"]["roc_auc"]),
        f"{holdout['expected_calibration_error']:.3f}",
        "" if point.is_new else _("unchanged"),
    ).rstrip()


# --- compare ---------------------------------------------------------------------------------


def _comparison_table(found: dict[str, Any]) -> list[str]:
    wide = max(len(_("KIND")), *(len(one["kind"]) for one in found["kinds"]))
    shape = "{:<1} {:<" + str(wide) + "}  {:<15}  {:<24}  {:<20}  {:<24}  {:>11}  {:>7}"
    lines = [
        shape.format(
            "", _("KIND"), _("CV AUC"), _("DIFFERENCE"), _("HOLD-OUT AUC"), _("DIFFERENCE"),
            _("CALIBRATION"), _("SECONDS"),
        )
    ]  # fmt: skip
    for one in found["kinds"]:
        beside = one["difference_from_best"] or {}
        lines.append(
            shape.format(
                "*" if one["kind"] == found["best"] else "",
                one["kind"],
                _spread(one["cross_validation"]["roc_auc"]),
                _interval(beside.get("cross_validation"), sign="+"),
                _interval(one["holdout"]["roc_auc"]),
                _interval(beside.get("holdout"), sign="+"),
                f"{one['holdout']['expected_calibration_error']:.3f}",
                f"{one['fit_seconds']:.1f}",
            )
        )
    return lines


def _verdict(found: dict[str, Any]) -> list[str]:
    best, alike = found["best"], found["as_good_as_the_best"]
    lines = [
        _(
            "* best in cross-validation: {kind}; differences are from it, with 95 % intervals"
        ).format(kind=best)
    ]
    if alike:
        lines.append(
            _("chance explains their difference from it: {kinds}").format(kinds=", ".join(alike))
        )
    if best == found["current"]:
        lines.append(_("it is the kind that vigie.toml chooses already"))
    else:
        lines.append(_("to choose it, in vigie.toml:"))
        lines += ["   [model]", f'   kind = "{best}"']
    return lines


def _interval(metric: dict[str, Any] | None, *, sign: str = "") -> str:
    if metric is None or metric["value"] is None:
        return "–"
    value = f"{metric['value']:{sign}.3f}"
    if metric["low"] is None or metric["high"] is None:
        return value
    return f"{value} [{metric['low']:{sign}.3f}; {metric['high']:{sign}.3f}]"


def _spread(metric: dict[str, Any]) -> str:
    if metric["mean"] is None:
        return "–"
    return f"{metric['mean']:.3f} ± {metric['std'] or 0.0:.3f}"
