"""Commands in messages name the project where the reader had to name it too."""

from __future__ import annotations

import importlib
import inspect

import pytest

from vigie.arguments import take_option
from vigie.commands.table import COMMANDS
from vigie.typed import PROJECT_COMMANDS, project_typed, with_option

OPTION = " --project 'my students'"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "Load it first: vigie run --mode prod",
            f"Load it first: vigie run{OPTION} --mode prod",
        ),
        (
            "Make one: vigie backup\nor: vigie db start.",
            f"Make one: vigie backup{OPTION}\nor: vigie db start{OPTION}.",
        ),
        ("vigie runs show last", f"vigie runs show{OPTION} last"),
        ("Editors want it: vigie schema", "Editors want it: vigie schema"),
        ("Name one that `vigie backup` made.", "Name one that `vigie backup` made."),
        ("In .vigie run by run; my-vigie run.", "In .vigie run by run; my-vigie run."),
    ],
)
def test_a_command_names_the_project(message: str, shown: str) -> None:
    assert with_option(message, OPTION) == shown
    assert with_option(message, "") == message


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["db", "status", "--project", "my students"], OPTION),
        (["--project=p", "run"], " --project p"),
        (["run"], ""),
        (["run", "--project"], ""),
        (["db", "shell", "--", "--project", "x"], ""),
    ],
)
def test_the_project_as_it_was_typed(arguments: list[str], option: str) -> None:
    assert project_typed(arguments) == option


@pytest.mark.parametrize(
    ("arguments", "value", "rest"),
    [
        (["run", "--lang", "fr", "--quiet"], "fr", ["run", "--quiet"]),
        (["--lang=fr", "run"], "fr", ["run"]),
        (["run", "--lang"], None, ["run", "--lang"]),
        (["run", "--language", "fr"], None, ["run", "--language", "fr"]),
        (["db", "shell", "--", "--lang", "fr"], None, ["db", "shell", "--", "--lang", "fr"]),
    ],
)
def test_an_option_is_taken_out_of_the_arguments(
    arguments: list[str], value: str | None, rest: list[str]
) -> None:
    assert take_option(arguments, "--lang") == (value, rest)


def test_these_commands_take_a_project_and_no_others() -> None:
    assert set(PROJECT_COMMANDS) < {one.name for one in COMMANDS}
    for command in COMMANDS:
        module, _colon, name = command.path.partition(":")
        found = getattr(importlib.import_module(module), name)
        if not inspect.isfunction(found):
            continue  # a group of commands
        takes = "project" in inspect.signature(found).parameters
        assert takes is (command.name in PROJECT_COMMANDS), command.name
