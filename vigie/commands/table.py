"""What commands there are: where each is, what it does in a line, and examples of it.

The modules of the commands are imported when a command is typed, never for the list.
"""

from __future__ import annotations

from typing import NamedTuple

from vigie.commands.layout import Example
from vigie.i18n import later

ABOUT = later(
    "Turns raw CSV exports into an honest early warning: which of these will go wrong, "
    "how sure are we, and why?"
)
ROOT_EXAMPLES = (
    Example("vigie run", later("everything on a sample; on generated data where there are none")),
    Example("vigie init customers.csv --target churned --positive yes", later("your own CSV")),
    Example("vigie run --help", later("all about one command")),
)


class Command(NamedTuple):
    """A command, before its module is imported.

    Parameters
    ----------
    name
        What is typed after ``vigie``.
    function
        Its function, or the app of a group of commands: ``"module:name"`` of vigie.commands.
    summary
        Message id of its line in the list.
    examples
        Shown on its help page; a group has its own.
    """

    name: str
    function: str
    summary: str
    examples: tuple[Example, ...] = ()

    @property
    def path(self) -> str:
        """Where its function is, from the root of the package."""
        return f"vigie.commands.{self.function}"


COMMANDS = (
    Command(
        "run",
        "run:run",
        later("Run the pipeline: extract, transform, load, features, train, evaluate, predict."),
        (
            Example("vigie run", later("a quick run on a sample")),
            Example("vigie run --mode prod", later("everything, after the checks")),
            Example("vigie run --explain", later("what would run and why")),
            Example("vigie run --steps train evaluate", later("these steps only")),
            Example("vigie run --cutoff-days 90 --lang fr", later("as known at day 90, in French")),
        ),
    ),
    Command(
        "config",
        "run:config",
        later("Show every setting, its value and where it comes from; secrets are masked."),
        (
            Example("vigie config", later("as a run would have them")),
            Example("vigie config --json", later("for a program")),
        ),
    ),
    Command(
        "init",
        "init:init",
        later("Look at a CSV file, bring it into the project and declare what it is."),
        (
            Example(
                "vigie init patients.csv --target died --positive yes", later("one file, told all")
            ),
            Example("vigie init patients.csv", later("asks for what it can't tell")),
            Example(
                "vigie init oulad/*.csv --target final_result --positive Fail Withdrawn",
                later("several tables, the outcome in one of them"),
            ),
        ),
    ),
    Command(
        "audit",
        "audit:audit",
        later("Prove on the last run's data that no feature knows the future."),
        (
            Example("vigie audit", later("of the last dev run")),
            Example("vigie audit --mode prod --features", later("with where each comes from")),
        ),
    ),
    Command(
        "sweep",
        "trials:sweep",
        later("Train and evaluate at several cut-offs, to see how early one can know."),
        (
            Example("vigie sweep --cutoff-days 0 30 60 90 120 150 180", later("on a sample")),
            Example("vigie sweep --mode prod --cutoff-days 30 90", later("everything, two days")),
        ),
    ),
    Command(
        "compare",
        "trials:compare",
        later(
            "Judge kinds of model on the same folds and the same hold-out, and say which is best."
        ),
        (
            Example("vigie compare", later("the four kinds, on a sample")),
            Example(
                "vigie compare random_forest sklearn.naive_bayes.GaussianNB --mode prod",
                later("these two, on everything"),
            ),
        ),
    ),
    Command(
        "check",
        "check:check",
        later("Go through the checklist before production."),
        (
            Example("vigie check", later("before vigie run --mode prod")),
            Example("vigie check --skip-check credentials", later("without one of the checks")),
        ),
    ),
    Command(
        "backup",
        "backup:backup",
        later("Back up a mode's tables, or list the backups there are."),
        (
            Example("vigie backup", later("prod's tables")),
            Example("vigie backup --list", later("what backups there are")),
        ),
    ),
    Command(
        "restore",
        "backup:restore",
        later("Put the tables of a backup in the place of the live ones."),
        (
            Example("vigie restore last", later("the newest one; it asks first")),
            Example("vigie restore last --mode dev --yes", later("without asking")),
        ),
    ),
    Command("db", "db:db", later("See, start, stop and query the project's database.")),
    Command(
        "report",
        "report:report",
        later("Make the report of a mode's results again, and open it."),
        (
            Example("vigie report --open", later("of the last dev run, in the browser")),
            Example("vigie report --mode prod --lang fr", later("of the last prod run, in French")),
        ),
    ),
    Command(
        "runs",
        "runs:runs",
        later("List the runs, show one, or say what changed between two."),
    ),
    Command(
        "models",
        "models:models",
        later("List the models that were made; * marks the current one."),
        (Example("vigie models --mode prod", later("those of prod")),),
    ),
    Command(
        "rollback",
        "models:rollback",
        later("Make an earlier model the current one."),
        (
            Example("vigie rollback --mode prod", later("the one before the current")),
            Example("vigie rollback rf-f3f46f222f59", later("this one")),
        ),
    ),
    Command(
        "fetch",
        "data:fetch",
        later("Download a public data set into data/raw/ (there is one: oulad)."),
        (Example("vigie fetch oulad", later("about 45 MB; goes on where it broke off")),),
    ),
    Command(
        "schema",
        "schema:schema",
        later("Print the JSON Schema of declarations, for editors."),
        (Example("vigie schema > dataset.schema.json", later("for an editor that knows TOML")),),
    ),
    Command(
        "sample",
        "data:sample",
        later("Generate OULAD-shaped data that behaves like the real one."),
        (
            Example("vigie sample --enrolments 2000", later("small, into data/generated/")),
            Example("vigie sample --dataset shop --out data/raw", later("customers and orders")),
        ),
    ),
    Command(
        "completion",
        "completion:completion",
        later("Print what makes bash, zsh or fish complete vigie's commands and options."),
        (
            Example("source <(vigie completion bash)", later("bash, in ~/.bashrc")),
            Example("source <(vigie completion zsh)", later("zsh, in ~/.zshrc after compinit")),
            Example("vigie completion fish | source", later("fish, in config.fish")),
        ),
    ),
)
