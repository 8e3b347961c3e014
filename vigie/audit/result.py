"""What one part of an audit came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vigie.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an audit.

    Parameters
    ----------
    name
        ``point_in_time``, ``shuffled_label`` and so on.
    said
        What was found, for people; one line for each thing.
    figures
        The same as plain JSON values.
    """

    name: str
    status: Verdict
    said: str
    figures: dict[str, Any] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "name": self.name,
            "status": str(self.status),
            "said": self.said,
            "figures": self.figures,
        }
