"""Every help page, and the errors of the command line, in both languages."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from cyclopts import App
from rich.console import Console

from tests.golden.files import check_golden
from vigie.cli import main
from vigie.commands.table import app
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
