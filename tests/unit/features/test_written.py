"""How a matrix gets into its file."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest

from vigie.steps.features import _Written


@pytest.mark.parametrize("array", [np.arange(12.0).reshape(3, 4), np.empty((0, 5), np.float32)])
def test_the_bytes_are_numpys(tmp_path: Path, array: np.ndarray) -> None:
    plain = io.BytesIO()
    np.save(plain, array)
    with (tmp_path / "a.npy").open("wb") as opened:
        np.save(_Written(opened), array)
    assert (tmp_path / "a.npy").read_bytes() == plain.getvalue()


def test_of_a_full_disk_it_says_so() -> None:
    full = os.strerror(errno.ENOSPC)
    with Path("/dev/full").open("wb", buffering=0) as opened, pytest.raises(OSError, match=full):
        np.save(_Written(opened), np.zeros(100_000))
