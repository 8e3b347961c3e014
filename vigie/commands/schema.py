"""``vigie schema``: what a declaration may say, for editors and people."""

from __future__ import annotations

from vigie.commands.options import Flag, print_json
from vigie.errors import ExitCode


def schema(*, markdown: Flag = False) -> int:
    """Print the JSON Schema of declarations (dataset.toml).

    An editor that knows TOML completes and checks a declaration whose first line is
    #:schema ./dataset.schema.json

    Parameters
    ----------
    markdown
        Print the reference page instead.
    """
    from vigie.dataset.reference import json_schema, reference_page

    if markdown:
        print(reference_page())
    else:
        print_json(json_schema())
    return ExitCode.OK
