"""Options that several commands share, by the types that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Names = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]
Flag = Annotated[bool, Parameter(negative=())]
Project = Annotated[Path | None, Parameter(name="--project")]
ConfigFile = Annotated[Path | None, Parameter(name="--config")]
