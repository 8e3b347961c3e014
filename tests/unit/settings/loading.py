"""What the tests of the settings share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from vigie.errors import ExitCode, SettingsError
from vigie.settings import (
    LoadedSettings,
)

ROOT = Path(__file__).resolve().parents[3]
CANARY = "c4n4ry-Pässw0rd"
URL = "postgresql://ann:pw@one:5433/first"

Load = Callable[..., LoadedSettings]


def error_of(load: Load, *args: Any, **kwargs: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(*args, **kwargs)
    assert caught.value.exit_code == ExitCode.USAGE
    return caught.value


def secret(settings: LoadedSettings, key: str) -> str | None:
    value = settings.get(key)
    assert value is None or isinstance(value, SecretStr)
    return None if value is None else value.get_secret_value()
