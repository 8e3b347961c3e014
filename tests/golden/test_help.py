"""Every help page, and the errors of the command line, in both languages."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal

import pytest
from cyclopts import App
from rich.console import Console

from tests.golden.files import check_golden
from vigie.cli import main
from vigie.commands import root_page
from vigie.commands.app import app
from vigie.i18n import use_language

LANGUAGES = ("en", "fr")


def pages(group: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name in group:
        if not name.startswith("-"):
            yield from pages(group[name], (*path, name))


PAGES = list(pages(app))


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    yield
    use_language("en")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PAGES, ids=lambda path: "-".join(path) or "vigie")
def test_a_help_page(
    path: tuple[str, ...], language: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*path, "--help", "--lang", language]) == 0
    check_golden(f"{language}/help-{'-'.join(path) or 'vigie'}", capsys.readouterr().out)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: "-".join(path) or "vigie")
def test_a_help_page_has_an_example_that_names_the_command(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*path, "--help"])
    shown = capsys.readouterr().out.partition("Examples:")[2].partition("\n\n")[0]
    assert f"vigie {' '.join(path)}".strip() in shown


@pytest.mark.parametrize("columns", [40, 60, 100])
@pytest.mark.parametrize("language", LANGUAGES)
def test_help_fits_the_window(columns: int, language: str) -> None:
    use_language(language)
    for path in PAGES:
        shown = io.StringIO()
        app.help_print(list(path), console=Console(file=shown, width=columns))
        for line in shown.getvalue().splitlines():
            # An example is typed as it stands: it is never broken.
            assert len(line) <= columns or "vigie " in line, (path, line)
            assert not line.lstrip().startswith((":", ";", "?", "!")), (path, line)


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("colours", [None, "standard"])
def test_the_first_page_is_the_one_that_cyclopts_would_show(
    columns: int,
    language: str,
    colours: Literal["standard"] | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use_language(language)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(root_page, "is_terminal", lambda _stream: colours is not None)
    theirs = io.StringIO()
    console = Console(
        file=theirs, width=columns, force_terminal=bool(colours), color_system=colours
    )
    app.help_print([], console=console)
    root_page.show_root_page()
    assert capsys.readouterr().out == theirs.getvalue()


def test_the_first_page_without_colours_keeps_what_is_bold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(root_page, "is_terminal", lambda _stream: True)
    root_page.show_root_page()
    shown = capsys.readouterr().out
    assert "\x1b[1mCommands:\x1b[0m" in shown
    assert "\x1b[36m" not in shown


def test_the_first_page_needs_no_library() -> None:
    code = "import sys; from vigie.cli import main; main(['--help']); print(*sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    *_page, modules = shown.splitlines()
    assert not {"cyclopts", "rich", "pydantic", "numpy"} & set(modules.split())


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ([], True),
        (["--help"], True),
        (["-h", "--lang", "fr"], True),
        (["--lang=fr"], True),
        (["--lang", "en", "--help"], True),
        (["--lang", "de"], False),
        (["--version"], False),
        (["run", "--help"], False),
        (["rnu"], False),
    ],
)
def test_when_the_first_page_is_asked_for(arguments: list[str], asked: bool) -> None:
    assert root_page.asks_for_root_page(arguments) is asked


WRONG = {
    "command": ["rnu"],
    "command-of-db": ["db", "statsu"],
    "option": ["run", "--mod", "dev"],
    "mode": ["run", "--mode", "staging"],
    "mode-as-a-word": ["run", "prod"],
    "step": ["run", "--steps", "trian"],
    "step-as-a-word": ["run", "trian"],
    "number": ["run", "--cutoff-days", "soon"],
    "seconds": ["run", "--wait", "long"],
    "no-value": ["run", "--mode"],
    "no-argument": ["fetch"],
    "twice": ["run", "--mode", "dev", "--mode", "prod"],
    "check": ["check", "--skip-check", "disc"],
    "language": ["run", "--lang", "de"],
    "shell": ["completion", "ksh"],
    "too-much": ["runs", "diff", "a", "b", "c"],
    "one-file-too-few": ["init"],
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_wrong_with_a_command_line(
    language: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", f"{language}_XX.UTF-8")
    said = []
    for arguments in WRONG.values():
        assert main(arguments) == 2, arguments
        said.append(f"$ vigie {' '.join(arguments)}\n{capsys.readouterr().err}")
    check_golden(f"{language}/usage", "\n".join(said))
