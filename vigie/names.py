"""Names for people: the modes and steps, the nearest to one that nobody knows, a few of many."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

from vigie.errors import UsageError
from vigie.i18n import _

MODES = ("dev", "prod")
STEP_NAMES = ("extract", "transform", "load", "features", "train", "evaluate", "predict")
SIMILARITY = 0.6
SHOWN_PERIODS = 3


def suggest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` was probably meant to be, or None.

    Letter case and the choice between ``-`` and ``_`` count for nothing. A name that `word` begins
    (or the last part of a dotted name, typed alone) is taken before a merely similar one.

    Examples
    --------
    >>> suggest("trian", ["transform", "train"])
    'train'
    >>> suggest("feat", ["transform", "features"])
    'features'
    >>> suggest("sample_size", ["modes.dev.sample_size", "cutoff_days"])
    'modes.dev.sample_size'
    >>> suggest("xyz", ["transform", "train"]) is None
    True
    """
    wanted = _folded(word)
    if not wanted:
        return None
    by_folded: dict[str, str] = {}
    for candidate in candidates:
        by_folded.setdefault(_folded(candidate), candidate)
    if wanted in by_folded:
        return by_folded[wanted]
    begun = [name for name in by_folded if name.startswith(wanted)]
    if len(begun) == 1:
        return by_folded[begun[0]]
    ends = [name for name in by_folded if name.rpartition(".")[2] == wanted]
    if ends:
        return by_folded[ends[0]]
    near = difflib.get_close_matches(wanted, list(by_folded), n=1, cutoff=SIMILARITY)
    return by_folded[near[0]] if near else None


def with_nearest(fix: str, word: str, candidates: Iterable[str]) -> str:
    """Return `fix` with a word before it about the candidate that was probably meant."""
    nearest = suggest(word, candidates)
    if nearest is None:
        return fix
    return _("Did you mean {nearest}?").format(nearest=nearest) + " " + fix


def unknown_name(kind: str, name: str, known: Collection[str], where: str) -> UsageError:
    """Return what to raise for a `kind` of thing (a mode, a step) that there isn't."""
    there = _("There are: {names}.").format(names=" ".join(known))
    return UsageError(
        _("There is no {kind} called {name!r}.").format(kind=kind, name=name),
        where=where,
        fix=with_nearest(there, name, known),
    )


def shown_periods(periods: Sequence[str]) -> str:
    """Return a few periods by name, of many the first and the last."""
    if len(periods) <= SHOWN_PERIODS:
        return ", ".join(periods)
    return _("{first} to {last}").format(first=periods[0], last=periods[-1])


def listed_briefly(texts: Sequence[str], most: int) -> str:
    """Return the first texts, `most` of them, and how many more there are."""
    shown = ", ".join(texts[:most])
    more = len(texts) - most
    return shown + (" " + _("and {count} more").format(count=more) if more > 0 else "")


def _folded(name: str) -> str:
    return name.strip().casefold().replace("-", "_")
