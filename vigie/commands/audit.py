"""``vigie audit``: proof that no feature knows the future, and that no result is too good."""

from __future__ import annotations

from vigie.commands.options import (
    ConfigFile,
    Flag,
    Language,
    Mode,
    Project,
    mode_paths,
    open_project,
    print_json,
)
from vigie.errors import ExitCode

NAME_WIDTH = 16


def audit(
    *,
    mode: Mode = "dev",
    features: Flag = False,
    project: Project = None,
    config: ConfigFile = None,
    json: Flag = False,
    lang: Language = None,
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
    from vigie.audit.results import provenance
    from vigie.audit.run import audit_results
    from vigie.verdict import Verdict, lines_of

    settings = open_project(project, lang, config)
    parts, content = audit_results(settings, mode_paths(settings, mode))
    failed = content["status"] == Verdict.FAIL
    if json:
        print_json(content)
        return ExitCode.AUDIT if failed else ExitCode.OK
    for part in parts:
        print("\n".join(lines_of(part.status, part.name, part.said, NAME_WIDTH)))
    if features:
        for feature in content["features"]:
            print(f"   {feature['name']:<44} {provenance(feature)}")
    return ExitCode.AUDIT if failed else ExitCode.OK
