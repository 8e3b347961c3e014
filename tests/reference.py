"""Makes the reference pages from the code: ``make reference`` (``python -m tests.reference``).

The commands come from the command line itself, the settings from their models and the comments in
``vigie.toml``. A test fails where a committed page is not what the code says.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"

# What each code means, and whether the same command may do better a moment later.
EXIT_CODES = {
    0: ("all is well; also where nothing had to be done", ""),
    1: ("failure that none of the others names (disk full, a defect)", "no"),
    2: ("usage: an unknown option, step, setting or value", "no"),
    3: ("data: missing, or not what they should be", "no"),
    4: ("locked: another run works in the same mode", "yes, or `--wait`"),
    5: ("database: unreachable, or it refused", "yes if it was unreachable"),
    6: ("model: missing, changed, or not fit for these features", "no"),
    7: ("a check before production failed", "no"),
    8: ("an audit found a feature or a result that can't be right", "no"),
    9: ("cluster: unreachable, or its workers have other versions", "yes if it was unreachable"),
    130: ("interrupted by Ctrl-C", "yes"),
}
DECLARED = {
    "oulad": "The Open University's learning analytics: who fails or drops out?",
    "shop": "A shop's customers, orders and returns: who will not order in the next 90 days?",
}


def commands_page() -> str:
    """Return the page of all commands, options and exit codes."""
    from vigie.commands.app import app
    from vigie.errors import ExitCode

    made = app.generate_docs(output_format="markdown", recursive=True, heading_level=1)
    # What comes before is the program's own heading and a list of the same commands.
    _own, _heading, listed = made.partition("**Commands**:")
    listed = re.sub(r" \*\[default: False\]\*", "", listed)
    # The usage of a command's commands names whatever program makes this page; its heading doesn't.
    listed = re.sub(
        r"^(#+ )(vigie [a-z ]+)\n\n```console\n[^\[\n]*",
        r"\1\2\n\n```console\n\2 ",
        listed,
        flags=re.MULTILINE,
    )
    lines = [
        "# Commands and exit codes",
        "",
        "Made from the code (`make reference`). `vigie COMMAND --help` says the same.",
        "`python -m src.pipeline.orchestrator` is `vigie run`.",
        "",
        listed.strip(),
        "",
        "## Exit codes",
        "",
        "| code | meaning | try again unchanged? |",
        "|---|---|---|",
        *(f"| {int(code)} | {' | '.join(EXIT_CODES[int(code)])} |" for code in ExitCode),
        "",
        "Where it depends, `error.retry` in the answer of `vigie run --json` says it. A run that",
        "was killed (137, 143) gives no answer; the same command goes on where it stopped.",
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _explained() -> Iterator[tuple[str, str]]:
    """Yield each section (with brackets) and key of vigie.toml with the comment above it."""
    section, above = "", []
    for line in (ROOT / "vigie.toml").read_text("utf-8").splitlines():
        if line.startswith("# "):
            above.append(line[2:])
            continue
        if line.startswith("["):
            section = line.strip("[]") + "."
            yield line, " ".join(above)
        elif line.startswith("#") and " = " in line:
            yield section + line[1:].partition(" = ")[0], " ".join(above)
        above = []


def settings_page() -> str:
    """Return the page of all settings."""
    from vigie.i18n import use_language
    from vigie.settings_schema import DATABASE_KEYS, Settings, expected, leaves, show

    use_language("en")
    said = dict(_explained())
    lines = [
        "# Settings",
        "",
        "Made from the code (`make reference`). A setting is written into `vigie.toml` (where",
        "every one stands at its default value, commented out), into `.env`, or into the",
        "environment. Flags go before environment variables, these before `.env`, that before",
        "`vigie.toml`, that before the defaults. `vigie config` shows what holds, and where each",
        "value comes from.",
        "",
        "In `.env` and in the environment a setting is its name in capitals after `VIGIE_`, with",
        "`__` for the dot: `VIGIE_CUTOFF_DAYS=90`, `VIGIE_MODES__DEV__SAMPLE_SIZE=1000`. For the",
        "database `DATABASE_URL`, or `DB_HOST`, `DB_PORT`, `DB_NAME`, `DB_USER` and",
        "`DB_PASSWORD`, will do too.",
    ]
    before = None
    for key in leaves():
        section, _dot, _name = key.rpartition(".")
        top = re.sub(r"\.model_params$", "", section)
        if top != before:
            heading = f"`[{top}]`" if top else "At the top of the file"
            lines += ["", f"## {heading}", ""]
            if top and said.get(f"[{top}]"):
                lines += [said[f"[{top}]"], ""]
            lines += ["| setting | default | may be | |", "|---|---|---|---|"]
            before = top
        default = show(key, _default(Settings(), key))
        shown = "" if key in DATABASE_KEYS and key != "database.port" else f"`{default}`"
        text = said.get(key) or said.get(key.replace("modes.prod", "modes.dev"), "")
        cells = (f"`{key[len(top) + 1 if top else 0 :]}`", shown, expected(key), text)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _default(settings: object, key: str) -> object:
    for part in key.split("."):
        settings = getattr(settings, part)
    return settings


def declared_page(name: str) -> str:
    """Return the page of a declaration that comes with vigie."""
    text = (ROOT / "vigie" / "dataset" / "declared" / f"{name}.toml").read_text("utf-8")
    return (
        f"# {name}.toml\n\n{DECLARED[name]}\n\nThe declaration `{name}` comes with vigie "
        f"(`vigie/dataset/declared/{name}.toml`); [what the keys mean](declaration.md).\n\n"
        f"```toml\n{text.rstrip()}\n```\n"
    )


def declaration_page() -> str:
    """Return the page of all that a declaration may say."""
    from vigie.dataset.reference import reference_page

    return reference_page() + "\n"


def pages() -> dict[Path, str]:
    """Return every page that is made from the code, by its file."""
    return {
        REFERENCE / "commands.md": commands_page(),
        REFERENCE / "settings.md": settings_page(),
        REFERENCE / "declaration.md": declaration_page(),
        **{REFERENCE / f"{name}-toml.md": declared_page(name) for name in DECLARED},
    }


def main() -> int:
    """Write the pages."""
    for path, text in pages().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
