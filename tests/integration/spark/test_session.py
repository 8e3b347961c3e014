"""What a Spark session leaves of the process that it runs in."""

from __future__ import annotations

import signal
from typing import Any


def test_ctrl_c_stays_what_it_was(spark: Any) -> None:
    assert spark.range(3).count() == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
