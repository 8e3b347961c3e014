"""Settings of texts."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.settings.loading import Load
from vigie.settings import (
    LoadedSettings,
    load_settings,
)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load settings from texts; .env is closed to others, as it should be."""

    def load_texts(
        toml: str | None = None,
        dotenv: str | None = None,
        environ: dict[str, str] | None = None,
        **options: Any,
    ) -> LoadedSettings:
        if toml is not None:
            (tmp_path / "vigie.toml").write_text(toml, encoding="utf-8")
        if dotenv is not None:
            path = tmp_path / ".env"
            path.write_text(dotenv, encoding="utf-8")
            path.chmod(0o600)
        return load_settings(tmp_path, environ=environ or {}, **options)

    return load_texts
