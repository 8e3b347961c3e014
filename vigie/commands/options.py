"""What several commands share: types that read options, and the project they are about."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vigie.i18n import LANGUAGES, _, language_from_environment, use_language
from vigie.names import MODES, STEP_NAMES, unknown_name

if TYPE_CHECKING:
    from vigie.paths import ProjectPaths
    from vigie.settings import LoadedSettings

CHECK_NAMES = (
    "dev",
    "declaration",
    "raw",
    "credentials",
    "backup",
    "disk",
    "memory",
    "logs",
    "versions",
    "audit",
)
_SEVERAL = Parameter(consume_multiple=True, negative=())

Names = Annotated[list[str] | None, _SEVERAL]
# What these may be is known before anything is imported: the shells complete them.
Steps = Annotated[list[str] | None, _SEVERAL, Parameter(choices=STEP_NAMES)]
Checks = Annotated[list[str] | None, _SEVERAL, Parameter(choices=CHECK_NAMES)]
Mode = Annotated[str, Parameter(choices=MODES)]
Language = Annotated[str | None, Parameter(choices=LANGUAGES)]
Flag = Annotated[bool, Parameter(negative=())]
Project = Annotated[Path | None, Parameter(name="--project")]
ConfigFile = Annotated[Path | None, Parameter(name="--config")]


def find_root(project: Path | None, lang: str | None) -> Path:
    """Return the project's folder, and speak the language that was asked for."""
    from vigie.settings import find_project

    use_language(lang or language_from_environment())
    return (project or find_project(Path.cwd())).resolve()


def open_project(
    project: Path | None, lang: str | None, config: Path | None = None
) -> LoadedSettings:
    """Return the project's settings, and speak the language that was asked for or set.

    Raises
    ------
    SettingsError
        When a settings file can't be read, with everything that is wrong in it.
    """
    from vigie.settings import load_settings

    root = find_root(project, lang)
    settings = load_settings(root, config_file=config, environ=os.environ)
    use_language(lang or settings.get("lang") or language_from_environment())
    return settings


def print_json(value: Any) -> None:
    """Print plain values as every command with ``--json`` does."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def refuse_unknown_mode(mode: str) -> None:
    """Raise ``UsageError`` where there is no such mode."""
    if mode not in MODES:
        raise unknown_name(_("mode"), mode, MODES, "--mode")


def mode_paths(settings: LoadedSettings, mode: str) -> ProjectPaths:
    """Return where everything of a mode lies.

    Raises
    ------
    UsageError
        When there is no such mode.
    """
    from vigie.paths import ProjectPaths

    refuse_unknown_mode(mode)
    return ProjectPaths(settings.project, mode, settings.get("raw_dir"))
