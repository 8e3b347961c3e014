"""Which rows the evaluated model learns from and which it is judged on.

A person's rows are kept together, and where the rows are ordered in time the hold-out is the
latest period: the question is how well next term's students are told apart, not last term's.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vigie.errors import DataError, SettingsError
from vigie.i18n import _
from vigie.names import shown_periods

if TYPE_CHECKING:
    import numpy.typing as npt

    IntArray = npt.NDArray[np.int64]

UNLABELLED = -1
# Fewer rows of a class than this on either side, and neither a fit nor a figure means anything.
MIN_ROWS_PER_CLASS = 2
# Where periods are as short as days, several of the latest make the hold-out.
MIN_HOLDOUT_SHARE = 0.05

HoldoutKind = Literal["latest", "grouped"]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Day numbers per row: up to when anything is known of it, and from when on its outcome is."""

    cutoff_days: IntArray
    outcome_days: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The labelled rows, divided.

    Parameters
    ----------
    kind
        ``"latest"``: the hold-out is the latest period; ``"grouped"``: persons drawn by a hash.
    train_rows, holdout_rows
        Row numbers, ascending.
    left_out_rows
        Rows of the training period that the evaluated model does not learn from: their person is
        in the hold-out as well, or their outcome was not known yet when the hold-out began.
    repeater_rows
        How many rows of the training period belong to a person of the hold-out, left out or not.
    early_rows
        How many rows were left out because their outcome was not known yet.
    holdout_periods
        The periods of the hold-out; empty when it is drawn by person.
    notes
        What a reader of the figures should know, in the language in use.
    """

    kind: HoldoutKind
    train_rows: IntArray
    holdout_rows: IntArray
    left_out_rows: IntArray
    repeater_rows: int = 0
    early_rows: int = 0
    holdout_periods: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def period_rows(self) -> IntArray:
        """All labelled rows outside the hold-out, those left out included."""
        return np.sort(np.concatenate([self.train_rows, self.left_out_rows]))

    def document(self) -> dict[str, Any]:
        """Return plain values for metadata and reports."""
        return {
            "kind": self.kind,
            "holdout_periods": list(self.holdout_periods),
            "train_rows": len(self.train_rows),
            "holdout_rows": len(self.holdout_rows),
            "left_out_rows": len(self.left_out_rows),
            "repeater_rows": self.repeater_rows,
            "early_rows": self.early_rows,
        }

    def describe(self) -> str:
        """Return one sentence on how the rows were divided."""
        train, holdout = f"{len(self.train_rows):,}", f"{len(self.holdout_rows):,}"
        if self.kind == "grouped":
            return _("trained on {train} rows, judged on {holdout} others").format(
                train=train, holdout=holdout
            )
        sentence = _("trained on {train} earlier rows, judged on {holdout} rows of {periods}")
        periods = shown_periods(self.holdout_periods)
        text = sentence.format(train=train, holdout=holdout, periods=periods)
        if len(self.left_out_rows) > self.early_rows:
            text += "; " + _("{count} earlier rows of the same persons left out").format(
                count=f"{len(self.left_out_rows) - self.early_rows:,}"
            )
        if self.early_rows:
            text += "; " + _("{count} left out whose outcome was not known by then").format(
                count=f"{self.early_rows:,}"
            )
        return text


def holdout_split(
    labels: npt.NDArray[Any],
    groups: npt.NDArray[Any],
    periods: npt.NDArray[Any],
    *,
    holdout_share: float,
    drop_repeaters: bool,
    seed: int,
    kind: HoldoutKind = "latest",
    since: str | None = None,
    known: Known | None = None,
) -> Split:
    """Divide the labelled rows into those to learn from and those to judge on.

    Parameters
    ----------
    labels
        One of 1 (at risk), 0 (not) and -1 (not known yet: the row is on neither side) per row.
    groups
        The person of each row.
    periods
        What orders the rows in time, a sortable text or number; may be constant.
    holdout_share
        About which share (0 to 1) of the persons is held out when there is one period.
    drop_repeaters
        Whether earlier rows of persons of the hold-out are left out of training.
    kind
        ``"latest"`` where there are several periods, or always ``"grouped"``.
    since
        The first period of the hold-out; None takes the latest.
    known
        When each row is asked about and when its outcome is known, where these days differ: what
        wasn't known when the hold-out began can't have been learnt from then.

    Raises
    ------
    DataError
        When no division leaves two rows of each class on both sides.
    """
    labels, groups, periods = np.asarray(labels), np.asarray(groups), np.asarray(periods)
    labelled = np.flatnonzero(labels != UNLABELLED)
    _check_classes(labels[labelled])
    notes: tuple[str, ...] = ()
    if kind == "latest":
        ordered = _Ordered(labels, groups, periods, labelled, drop_repeaters, known)
        if since is not None:
            return ordered.since(since)
        if len(np.unique(periods[labelled])) > 1:
            latest = ordered.latest()
            if latest is not None:
                return latest
            notes = (
                _(
                    "The latest period cannot be the hold-out: one of its sides would have fewer "
                    "than {count} rows of a class. Persons were held out instead."
                ).format(count=MIN_ROWS_PER_CLASS),
            )
    return _grouped(labels, groups, labelled, holdout_share=holdout_share, seed=seed, notes=notes)


def grouped_folds(
    labels: npt.NDArray[Any],
    groups: npt.NDArray[Any],
    n_splits: int,
    seed: int,
    *,
    setting: str = "n_splits_cv",
) -> IntArray:
    """Return the fold (0 to ``n_splits - 1``) of each row; -1 for rows without a label.

    A person's rows share a fold, and the folds are alike in size and in classes, as those of
    scikit-learn's ``StratifiedGroupKFold`` are. Persons who have the same rows of each class are
    interchangeable, so they are dealt out by a seeded hash instead of weighed one by one, which
    takes 0.05 s for 9,000 persons instead of 1.2 s.

    Parameters
    ----------
    setting
        The key that a reader would change, for the error's text.

    Raises
    ------
    SettingsError
        When `n_splits` is less than two.
    DataError
        When a class has fewer persons than there are folds.
    """
    if n_splits < 2:
        raise SettingsError(
            _("Cross-validation needs at least 2 folds, not {count}.").format(count=n_splits),
            where=setting,
            fix=_("Set {setting} to 2 or more.").format(setting=setting),
        )
    labels, groups = np.asarray(labels), np.asarray(groups)
    labelled = np.flatnonzero(labels != UNLABELLED)
    _check_classes(labels[labelled])
    names, codes = np.unique(groups[labelled], return_inverse=True)
    positives = np.bincount(codes, labels[labelled] == 1, len(names)).astype(np.int64)
    negatives = np.bincount(codes, labels[labelled] == 0, len(names)).astype(np.int64)
    _check_enough_persons(positives, negatives, n_splits, setting)
    fold_of_group = _deal(positives, negatives, _unit_hashes(names, seed), n_splits)
    folds = np.full(len(labels), -1, dtype=np.int64)
    folds[labelled] = fold_of_group[codes]
    return folds


@dataclass(frozen=True, slots=True, eq=False)
class _Ordered:
    """Labelled rows that periods put in an order."""

    labels: npt.NDArray[Any]
    groups: npt.NDArray[Any]
    periods: npt.NDArray[Any]
    labelled: IntArray
    drop_repeaters: bool
    known: Known | None

    def latest(self) -> Split | None:
        """Hold out the latest period, and those before it while the hold-out lacks rows."""
        found = np.unique(self.periods[self.labelled])
        for first in found[:0:-1]:
            split = self._held_out(self.periods[self.labelled] >= first)
            if not _has_both(self.labels[split.train_rows]):
                return None
            enough = len(split.holdout_rows) >= MIN_HOLDOUT_SHARE * len(self.labelled)
            if enough and _has_both(self.labels[split.holdout_rows]):
                return split
        return None

    def since(self, period: str) -> Split:
        """Hold out all periods from this one on, as asked; nothing else will do."""
        names = self.periods[self.labelled].astype(str)
        late = names >= period
        if late.any():
            split = self._held_out(late)
            if all(_has_both(self.labels[rows]) for rows in (split.train_rows, split.holdout_rows)):
                return split
        raise DataError(
            _(
                "A hold-out from {since} on leaves a side with fewer than {count} rows of a class."
            ).format(since=period, count=MIN_ROWS_PER_CLASS),
            where=_("evaluation.holdout_from; periods: {periods}").format(
                periods=shown_periods(tuple(np.unique(names).tolist()))
            ),
            fix=_('Name another period, or "none".'),
        )

    def _held_out(self, late: npt.NDArray[np.bool_]) -> Split:
        """Hold out these labelled rows; the sides may lack rows."""
        holdout, earlier = self.labelled[late], self.labelled[~late]
        # Of texts np.isin compares each with each: four seconds for 10,000 persons.
        held = set(self.groups[holdout].tolist())
        repeats = np.array([one in held for one in self.groups[earlier].tolist()], dtype=bool)
        keep = ~repeats if self.drop_repeaters else np.ones(len(earlier), dtype=bool)
        early = np.zeros(len(earlier), dtype=bool)
        if self.known is not None:
            begin = self.known.cutoff_days[holdout].min()
            early = self.known.outcome_days[earlier] > begin
        early &= keep
        keep &= ~early
        return Split(
            kind="latest",
            train_rows=earlier[keep],
            holdout_rows=holdout,
            left_out_rows=earlier[~keep],
            repeater_rows=int(repeats.sum()),
            early_rows=int(early.sum()),
            holdout_periods=tuple(str(one) for one in np.unique(self.periods[holdout])),
        )


def _grouped(
    labels: npt.NDArray[Any],
    groups: npt.NDArray[Any],
    labelled: IntArray,
    *,
    holdout_share: float,
    seed: int,
    notes: tuple[str, ...],
) -> Split:
    """Hold out the persons whose hash is below the share: new rows don't move the others.

    Where that leaves a side without enough rows of a class (few persons, a rare class), the
    nearest number of persons that does not is taken.
    """
    names, codes = np.unique(groups[labelled], return_inverse=True)
    hashes = _unit_hashes(names, seed)
    order = np.argsort(hashes, kind="stable")
    positives = np.cumsum(np.bincount(codes, labels[labelled] == 1, len(names))[order])
    negatives = np.cumsum(np.bincount(codes, labels[labelled] == 0, len(names))[order])
    possible = np.ones(len(names), dtype=bool)
    for held in (positives, negatives):
        possible &= (held >= MIN_ROWS_PER_CLASS) & (held[-1] - held >= MIN_ROWS_PER_CLASS)
    counts = np.flatnonzero(possible) + 1
    if not len(counts):
        raise DataError(
            _(
                "The rows cannot be divided by person so that both sides have {count} rows of "
                "each class."
            ).format(count=MIN_ROWS_PER_CLASS),
            where=_("{rows} labelled rows of {persons} persons").format(
                rows=f"{len(labelled):,}", persons=f"{len(names):,}"
            ),
            fix=_("Bring more rows with a known outcome, or a larger sample_size."),
        )
    wanted = int((hashes < holdout_share).sum())
    taken = counts[np.argmin(np.abs(counts - wanted))]
    held_out = np.zeros(len(names), dtype=bool)
    held_out[order[:taken]] = True
    mask = held_out[codes]
    empty = np.empty(0, dtype=np.int64)
    return Split("grouped", labelled[~mask], labelled[mask], empty, notes=notes)


def _deal(
    positives: IntArray, negatives: IntArray, hashes: npt.NDArray[np.float64], n_splits: int
) -> IntArray:
    """Give each person a fold; persons with most rows first, then those of a kind in turn."""
    kinds, kind_of_group = np.unique(
        np.column_stack([positives, negatives]), axis=0, return_inverse=True
    )
    order = np.lexsort((hashes, kind_of_group))
    starts = np.searchsorted(kind_of_group[order], np.arange(len(kinds) + 1))
    fold_of_group = np.empty(len(positives), dtype=np.int64)
    load = np.zeros((n_splits, 2))
    share = kinds.T @ np.diff(starts) / n_splits
    by_size = np.lexsort((np.arange(len(kinds)), -kinds.sum(axis=1)))
    for kind in by_size:
        members = order[starts[kind] : starts[kind + 1]]
        rounds, rest = divmod(len(members), n_splits)
        turns = np.repeat(np.arange(n_splits), rounds)
        load += rounds * kinds[kind]
        # The rest go where the classes that they bring are scarcest, in parts of a fold's share.
        scarcity = (load / share) @ np.where(kinds[kind] > 0, 1.0, 1e-6)
        scarcest = np.argsort(scarcity, kind="stable")[:rest]
        load[scarcest] += kinds[kind]
        fold_of_group[members] = np.concatenate([turns, scarcest])
    return fold_of_group


def _unit_hashes(names: npt.NDArray[Any], seed: int) -> npt.NDArray[np.float64]:
    """Return a number in [0, 1) for each name, the same in every run and on every machine."""
    salt = f"vigie:{seed}".encode()[:16]
    digests = b"".join(
        blake2b(str(name).encode("utf-8", "surrogatepass"), digest_size=8, salt=salt).digest()
        for name in names.tolist()
    )
    # 53 bits: what a float holds without rounding up to 1.
    return (np.frombuffer(digests, dtype="<u8") >> np.uint64(11)) / float(1 << 53)


def _has_both(labels: npt.NDArray[Any]) -> bool:
    return all(int((labels == value).sum()) >= MIN_ROWS_PER_CLASS for value in (0, 1))


def _check_classes(labels: npt.NDArray[Any]) -> None:
    """Refuse labels from which nothing can be learned."""
    if not len(labels):
        raise DataError(
            _("No row has a known outcome, so there is nothing to learn from."),
            where="labels",
            fix=_("Bring rows whose outcome is known, or check the label's declaration."),
        )
    counts = {value: int((labels == value).sum()) for value in (0, 1)}
    if sum(counts.values()) != len(labels):
        raise DataError(
            _("Labels must be 1 (at risk), 0 (not) or -1 (not known yet), not {values}.").format(
                values=", ".join(str(value) for value in np.unique(labels)[:5])
            ),
            where="labels",
            fix=_("Make the features again: {command}").format(
                command="vigie run --steps features --force features"
            ),
        )
    for value, name in ((1, _("at risk")), (0, _("not at risk"))):
        if counts[value] == 0:
            raise DataError(
                _("No row is {name}: with one outcome only there is nothing to learn.").format(
                    name=name
                ),
                where=_("labels: {positive} at risk, {negative} not").format(
                    positive=counts[1], negative=counts[0]
                ),
                fix=_("Bring rows of both outcomes, or check the label's declaration."),
            )


def _check_enough_persons(
    positives: IntArray, negatives: IntArray, n_splits: int, setting: str
) -> None:
    for counts, name in ((positives, _("at risk")), (negatives, _("not at risk"))):
        persons = int((counts > 0).sum())
        if persons < n_splits:
            raise DataError(
                _("{folds} folds need {folds} persons {name}; there are {persons}.").format(
                    folds=n_splits, name=name, persons=persons
                ),
                where=setting,
                fix=_("Set {setting} to {most} or less, or bring more rows.").format(
                    setting=setting, most=max(persons, 2)
                ),
            )
