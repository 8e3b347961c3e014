"""``vigie schema``: what a declaration may say, for editors."""

from __future__ import annotations

from vigie.commands.options import print_json
from vigie.errors import ExitCode


def schema() -> int:
    """Print the JSON Schema of declarations (dataset.toml).

    An editor that knows TOML completes and checks a declaration whose first line is
    #:schema ./dataset.schema.json
    """
    from vigie.dataset.spec import Dataset

    content = Dataset.model_json_schema()
    content["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    print_json(content)
    return ExitCode.OK
