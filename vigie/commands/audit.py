"""``vigie audit``: proof that no feature knows the future, and that no result is too good."""

from __future__ import annotations

import json as json_format
import os
from pathlib import Path

from vigie.commands.options import ConfigFile, Flag, Project
from vigie.errors import ExitCode, UsageError
from vigie.i18n import _, language_from_environment, use_language

_SIGNS = {"pass": "✅", "warn": "⚠️ ", "fail": "❌"}


def audit(
    *,
    mode: str = "dev",
    features: Flag = False,
    project: Project = None,
    config: ConfigFile = None,
    json: Flag = False,
    lang: str | None = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Prove on the last run's data that no feature knows the future and no result is too good.

    The features are built again from tables that end at the cut-off and must be the same; a model
    of shuffled outcomes must know nothing; features that alone tell the outcomes apart are named;
    nobody may be on both sides of a fold; scores must point the right way; and a hold-out AUC that
    is too good to be true raises an alarm. The exit code is 8 where one part fails.

    Parameters
    ----------
    mode
        dev or prod: whose results are audited.
    features
        List every feature with the table, column and clock that it comes from.
    project
        Folder of the project (default: the nearest one with a vigie.toml, else this folder).
    config
        Settings file instead of vigie.toml.
    json
        Print JSON.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.audit.result import Verdict
    from vigie.audit.results import provenance
    from vigie.audit.run import audit_results
    from vigie.paths import ProjectPaths
    from vigie.pipeline.artifacts import write_json
    from vigie.pipeline.definition import MODES
    from vigie.settings import find_project, load_settings

    use_language(lang or language_from_environment())
    root = (project or find_project(Path.cwd())).resolve()
    settings = load_settings(root, config_file=config, environ=os.environ)
    use_language(lang or settings.get("lang") or language_from_environment())
    if mode not in MODES:
        raise UsageError(
            _("There is no {kind} called {name!r}.").format(kind=_("mode"), name=mode),
            where="--mode",
            fix=_("There are: {names}.").format(names=" ".join(MODES)),
        )
    paths = ProjectPaths(root, mode, settings.get("raw_dir"))
    parts, metadata = audit_results(settings, paths)
    failed = any(part.status == Verdict.FAIL for part in parts)
    listed = [
        {key: feature[key] for key in ("name", "source", "column", "clock", "aggregate")}
        for feature in metadata["features"]
    ]
    content = {
        "mode": mode,
        "status": "fail" if failed else "pass",
        "parts": [part.to_record() for part in parts],
        "features": listed,
    }
    write_json(paths.report("audit", ".json"), content)
    if json:
        print(json_format.dumps(content, ensure_ascii=False, indent=2))
        return ExitCode.AUDIT if failed else ExitCode.OK
    for part in parts:
        first, *others = part.said.splitlines()
        print(f"{_SIGNS[part.status]} {part.name:<16} {first}")
        for line in others:
            print(" " * 20 + line)
    if features:
        for feature in metadata["features"]:
            print(f"   {feature['name']:<44} {provenance(feature)}")
    return ExitCode.AUDIT if failed else ExitCode.OK
