"""What a file's columns are taken to mean: key, outcome, features; each with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vigie.dataset.spec import COHORT_COLUMNS, OWN_PREFIX, ROW_ID
from vigie.errors import UsageError
from vigie.i18n import _
from vigie.infer.profile import FileProfile, Profile
from vigie.names import with_nearest

MAX_CATEGORIES = 30
MIN_CATEGORY_ROWS = 5
# Of a text with more different values than this share of its rows, few come again.
FREE_TEXT_SHARE = 0.5
MAX_OUTCOMES = 20
RARE_ROWS = 50
_RESERVED = {*COHORT_COLUMNS, ROW_ID}
# customer_id, PassengerId, ID, "row number"; not idle, and not paid.
ID_NAME = re.compile(
    r"(?i:(^|[_\s.-])(id|ids|key|uuid|guid|nr|nbr|no|number|code|index)\.?$)|[a-z]I[dD]$"
)
# A column called like an identifier that has fewer different values than this share of its rows
# tells kinds apart, not things.
ID_SHARE = 0.5
# And one that numbers rows, in a file without names.
NUMBERING_SHARE = 0.8
# A column called like a person repeats for each of their rows.
_PERSON_NAME = re.compile(
    r"(?i)(patient|customer|client|user|member|subject|student|person|employee|account|driver|"
    r"player|card|household)"
)
MIN_PERSONS = 20
_TARGET_NAMES = (
    "target", "label", "class", "outcome", "y", "churn", "churned", "exited", "default",
    "defaulted", "survived", "died", "death", "fraud", "isfraud", "is_fraud", "response",
    "attrition", "dropout", "failed", "failure", "readmitted", "diagnosis", "risk", "income",
    "quality", "result", "status",
)  # fmt: skip
# Words within a name that say so, as in "Loan_Status" or "default payment next month".
_TARGET_WORDS = frozenset((
    "target", "churn", "churned", "outcome", "default", "fraud", "attrition", "dropout",
    "readmitted", "survived", "survival", "died", "dead", "death", "bankrupt", "canceled",
    "cancelled", "disease", "failure", "phishing", "spam", "arrest", "purchase", "purchased",
    "converted", "revenue", "approved", "status", "class", "label",
))  # fmt: skip
_BAD_VALUES = (
    "yes", "true", "y", "t", "oui", "vrai", "o", "bad", "fail", "failed", "failure",
    "churn", "churned", "default", "fraud", "malignant", "positive", "pos", "died", "dead",
    "dropout", "withdrawn", "left", "high", "abnormal", "sick", "present", "poisonous", "fired",
    "charged off", "rejected", "cancelled", "canceled", "unacc", "spam", "attrited customer",
)  # fmt: skip
# What a column is called whose "yes" is the good news.
_GOOD_NEWS = frozenset(("survived", "survival", "approved", "passed", "retained", "alive"))
# With so many values, whole numbers are a scale, not kinds.
MIN_SCALE = 5
_PERSONAL = re.compile(
    r"(^|[_\s-])(sex|gender|race|ethnic\w*|religion|nationality|disab\w*|age|sexe|genre|"
    r"nationalite|handicap|marital\w*)($|[_\s-])",
    re.I,
)
_COMPARISON = re.compile(r"\s*(>=|<=|>|<)\s*([+-]?\d+(?:\.\d+)?)\s*")

Ask = Callable[[str, Sequence[str]], str | None]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user said about the file."""

    target: str | None = None
    positive: tuple[str, ...] = ()
    id: str | None = None
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The column that is predicted and its bad values, or a comparison such as ``>= 7``."""

    column: Profile
    values: tuple[str, ...] = ()
    comparison: str | None = None


@dataclass(slots=True)
class Decisions:
    """What was decided about one file, and why, in sentences for people."""

    profile: FileProfile
    names: dict[int, str]
    key: Profile | None = None
    group: Profile | None = None
    outcome: Outcome | None = None
    features: list[Profile] = field(default_factory=list)
    not_features: dict[str, str] = field(default_factory=dict)
    suspects: dict[str, float] = field(default_factory=dict)
    personal: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def name(self, profile: Profile) -> str:
        """Return what the declaration calls the column."""
        return self.names[profile.place]


def decide(profile: FileProfile, wishes: Wishes, ask: Ask, *, known_key: bool = False) -> Decisions:
    """Decide what the columns mean.

    Parameters
    ----------
    ask
        Puts a question with its possible answers to a person; None where nobody answers.
    known_key
        Whether the key is known from elsewhere, so that none is looked for unless it is wished.

    Raises
    ------
    UsageError
        When there is no telling what is to be predicted, or a column is named that isn't there.
    """
    made = Decisions(profile, declared_names(profile.columns))
    for name in wishes.leave_out:
        _column(profile, name, "--leave-out")
    made.outcome = _choose_outcome(profile, wishes, ask, made.notes)
    if not known_key or wishes.id is not None:
        made.key = _choose_key(profile, wishes, made.outcome, made.notes)
    made.group = _choose_group(profile, made, made.notes)
    for column in profile.columns:
        if column is made.key or column is made.outcome.column:
            continue
        reason = _why_no_feature(column, wishes, made)
        if reason is None:
            made.features.append(column)
        else:
            made.not_features[made.name(column)] = reason
    made.personal = [made.name(c) for c in made.features if _PERSONAL.search(c.name)]
    return made


def declared_names(columns: Sequence[Profile]) -> dict[int, str]:
    """Return a name for each column, by its place: its own, unless that is empty or taken."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for column in columns:
        name = column.name or f"column_{column.place}"
        if name.lower().startswith(OWN_PREFIX):
            name = f"column_{name}"
        if name.lower() in taken or name.lower() in _RESERVED:
            name = f"{name}_{column.place}"
        while name.lower() in taken:
            name += "_"
        taken.add(name.lower())
        names[column.place] = name
    return names


# --- the outcome -----------------------------------------------------------------------------


def _choose_outcome(profile: FileProfile, wishes: Wishes, ask: Ask, notes: list[str]) -> Outcome:
    if wishes.target is not None:
        column = _column(profile, wishes.target, "--target")
    else:
        column = _guess_target(profile, ask, notes)
    if len(wishes.positive) == 1 and (match := _COMPARISON.fullmatch(wishes.positive[0])):
        if column.type not in ("integer", "number"):
            raise UsageError(
                _("Column {name!r} holds no numbers to compare.").format(name=column.name),
                where="--positive",
                fix=_("Name its values instead: {values}").format(values=_shown(column)),
            )
        return Outcome(column, comparison=f"{match[1]} {match[2]}")
    if wishes.positive:
        return Outcome(column, _known_values(column, wishes.positive))
    if (comparison := _guess_comparison(column, ask, notes)) is not None:
        return Outcome(column, comparison=comparison)
    return Outcome(column, (_guess_positive(column, ask, notes),))


def _column(profile: FileProfile, name: str, option: str) -> Profile:
    found = [one for one in profile.columns if one.name == name]
    found = found or [one for one in profile.columns if one.name.lower() == name.strip().lower()]
    if found:
        return found[0]
    names = [one.name for one in profile.columns]
    there = _("There are: {names}.").format(names=", ".join(names))
    raise UsageError(
        _("There is no column called {name!r}.").format(name=name),
        where=option,
        fix=with_nearest(there, name, names),
    )


def has_outcome_by_name(profile: FileProfile) -> bool:
    """Whether a file has a column that is called like an outcome and has few values."""
    return any(
        one.name.lower().replace(" ", "_") in _TARGET_NAMES
        # A list of kinds has each of them once.
        and 2 <= one.distinct <= min(MAX_OUTCOMES, one.known / 2)
        for one in profile.columns
    )


def _guess_target(profile: FileProfile, ask: Ask, notes: list[str]) -> Profile:
    possible = [one for one in profile.columns if 2 <= one.distinct <= MAX_OUTCOMES]
    guess = _target_by_place(profile, possible)
    if profile.sniffed.header:
        guess = _target_by_name(possible) or guess
    names = [one.name for one in possible]
    answer = ask(_("Which column is to be predicted?"), names) if names else None
    if answer is not None:
        return _column(profile, answer, "--target")
    if guess is None:
        raise UsageError(
            _("There is no telling which column is to be predicted."),
            where=profile.sniffed.why_header,
            fix=_("Name it: --target COLUMN. There are: {names}.").format(
                names=", ".join(one.name for one in profile.columns)
            ),
        )
    notes.append(
        _("{name} is taken for the outcome; another one: --target COLUMN").format(name=guess.name)
    )
    return guess


def _words(name: str) -> set[str]:
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return set(re.split(r"[^a-z0-9]+", parted.lower()))


def _target_by_name(possible: Sequence[Profile]) -> Profile | None:
    by_name = {one.name.lower().replace(" ", "_"): one for one in reversed(possible)}
    named = [by_name[name] for name in _TARGET_NAMES if name in by_name]
    named += [one for one in reversed(possible) if _words(one.name) & _TARGET_WORDS]
    # A column called "status" is an outcome the rather if it has two values.
    return next(iter([one for one in named if one.distinct == 2] or named), None)


def _target_by_place(profile: FileProfile, possible: Sequence[Profile]) -> Profile | None:
    """Return the column that stands where outcomes stand: last, or first, behind an identifier."""
    two = [one for one in possible if one.distinct == 2 and not _PERSONAL.search(one.name)]
    first = profile.columns[0]
    if len(profile.columns) > 1 and (first.is_unique or _is_numbering(profile, first)):
        first = profile.columns[1]
    ends = [profile.columns[-1]] if profile.sniffed.header else [profile.columns[-1], first]
    some = [one for one in ends if one in possible and not _PERSONAL.search(one.name)]
    chosen = [one for one in ends if one in two] or some or two[-1:]
    return next(iter(chosen), None)


def _is_numbering(profile: FileProfile, column: Profile) -> bool:
    """Whether a column without a name numbers what its rows are about, as a first one may."""
    first = not profile.sniffed.header and column.place == 1
    return first and column.type == "integer" and column.distinct > NUMBERING_SHARE * column.rows


def _known_values(column: Profile, wanted: Sequence[str]) -> tuple[str, ...]:
    values = [value for value, _count in column.values]
    folded = {value.lower(): value for value in reversed(values)}
    found = []
    for one in wanted:
        text = one.strip()
        match = text if text in values else folded.get(text.lower()) or _same_number(text, values)
        if match is None:
            there = _("There are: {names}.").format(names=_shown(column))
            raise UsageError(
                _("Column {name!r} has no value {value!r}.").format(name=column.name, value=text),
                where="--positive",
                fix=with_nearest(there, text, values),
            )
        found.append(match)
    return tuple(dict.fromkeys(found))


def _same_number(text: str, values: Sequence[str]) -> str | None:
    try:
        return next(value for value in values if float(value) == float(text))
    except (ValueError, StopIteration):
        return None


def _guess_positive(column: Profile, ask: Ask, notes: list[str]) -> str:
    values = [value for value, _count in column.values]
    if column.distinct < 2:
        raise UsageError(
            _("Column {name!r} has fewer than two values: there is nothing to predict.").format(
                name=column.name
            ),
            where="--target",
            fix=_("Name another column."),
        )
    if column.distinct > MAX_OUTCOMES:
        raise UsageError(
            _("Column {name!r} has {count} different values.").format(
                name=column.name, count=column.distinct
            ),
            where="--target",
            fix=_("Say which are bad: --positive VALUE ..., or of a number: --positive '>= 7'."),
        )
    answer = ask(
        _("Which value of {name} is the one to be warned of?").format(name=column.name), values
    )
    if answer is not None:
        return _known_values(column, [answer])[0]
    chosen = _worse(column, values)
    others = [value for value in values if value != chosen]
    notes.append(
        _(
            "{name} = {value} is taken for the bad outcome, not {others}; otherwise: --positive"
        ).format(name=column.name, value=chosen, others=", ".join(others))
    )
    return chosen


def _worse(column: Profile, values: Sequence[str]) -> str:
    """Return the value that one is warned of, of values by their frequency."""
    folded = {value.rstrip(".").lower(): value for value in values}
    known = [folded[one] for one in _BAD_VALUES if one in folded]
    worse = known[0] if known and (column.distinct == 2 or len(known) == 1) else values[-1]
    if column.distinct == 2 and column.type in ("integer", "number"):
        # 0 and 1, 1 and 2, 2 and 4: the greater one.
        worse = max(values, key=float)
    if column.distinct == 2 and _words(column.name) & _GOOD_NEWS:
        return next(value for value in values if value != worse)
    return worse


def _guess_comparison(column: Profile, ask: Ask, notes: list[str]) -> str | None:
    """Return what is bad on a scale: all but a most frequent 0, else its lower part."""
    if column.type != "integer" or not MIN_SCALE <= column.distinct <= MAX_OUTCOMES or column.strip:
        return None
    counts = sorted((float(value), count) for value, count in column.values)
    below, chosen = 0, f"<= {counts[0][0]:g}"
    for value, count in counts:
        below += count
        if below * 2 <= column.known:
            chosen = f"<= {value:g}"
    if counts[0][0] == 0 and counts[0][1] == max(count for _value, count in counts):
        chosen = "> 0"
    question = _("Which part of {name} is the one to be warned of?").format(name=column.name)
    answer = ask(question, [chosen, *(value for value, _count in column.values)])
    if answer is not None:
        match = _COMPARISON.fullmatch(answer)
        return f"{match[1]} {match[2]}" if match else f"= {_known_values(column, [answer])[0]}"
    notes.append(
        _("{name} {part} is taken for the bad outcome; otherwise: --positive").format(
            name=column.name, part=chosen
        )
    )
    return chosen


def _shown(column: Profile) -> str:
    names = [value for value, _count in column.values[:MAX_OUTCOMES]]
    return ", ".join(names) + (", …" if column.distinct > MAX_OUTCOMES else "")


# --- the key and the features ----------------------------------------------------------------


def _choose_key(
    profile: FileProfile, wishes: Wishes, outcome: Outcome, notes: list[str]
) -> Profile | None:
    if wishes.id is not None:
        column = _column(profile, wishes.id, "--id")
        if not column.is_unique:
            raise UsageError(
                _("Column {name!r} is no key: {reason}.").format(
                    name=column.name,
                    reason=_("{count} values are missing").format(count=column.missing)
                    if column.missing
                    else _("{count} rows repeat a value").format(
                        count=column.rows - column.distinct
                    ),
                ),
                where="--id",
                fix=_("Name another one, or leave --id out: the row's number is the key then."),
            )
        return column
    unique = [
        one
        for one in profile.columns
        if one.is_unique and one.type in ("integer", "text") and one is not outcome.column
    ]
    # Without a name, or counting from one, it is what a statistics program gave its rows.
    named = [one for one in unique if ID_NAME.search(one.name) or not one.name]
    named += [one for one in unique if one.counts_rows or _is_numbering(profile, one)]
    if named:
        name = declared_names(profile.columns)[named[0].place]
        notes.append(_("{name} is the key: each row has its own").format(name=name))
        return named[0]
    notes.append(
        _("no column is a key by its name; the row's number in the file is ({row_id})").format(
            row_id=ROW_ID
        )
    )
    return None


def _choose_group(profile: FileProfile, made: Decisions, notes: list[str]) -> Profile | None:
    """Return what identifies the things that some rows share, such as a person met twice."""
    said = _("rows with the same {name} are kept together: they are about the same thing")
    for column in profile.columns:
        taken = made.outcome is not None and column is made.outcome.column
        numbered = _is_numbering(profile, column)
        called = numbered or ID_NAME.search(column.name)
        if column is made.key or taken or column.is_unique or not called:
            continue
        of_persons = column.distinct >= MIN_PERSONS and _PERSON_NAME.search(column.name)
        many = of_persons or column.distinct > ID_SHARE * column.rows
        if column.type in ("integer", "text") and many:
            notes.append(said.format(name=made.name(column)))
            return column
    return None


def _why_no_feature(column: Profile, wishes: Wishes, made: Decisions) -> str | None:
    if column.name in wishes.leave_out or made.name(column) in wishes.leave_out:
        return _("left out, as you said")
    if column.distinct <= 1 and not (column.distinct and column.missing):
        return _("has the same value everywhere") if column.distinct else _("is empty")
    if column is made.group:
        return _("identifies what the row is about")
    if column.is_unique and (column.type == "text" or _is_counter(column)):
        return _("identifies the row")
    return _why_no_category(column) if column.type == "text" else None


def _why_no_category(column: Profile) -> str | None:
    if column.distinct > max(MAX_CATEGORIES, FREE_TEXT_SHARE * column.known):
        return _("is free text or an identifier: {count} different values").format(
            count=column.distinct
        )
    if not categories(column):
        return _("has no value that {count} rows share").format(count=MIN_CATEGORY_ROWS)
    return None


def why_no_feature(column: Profile) -> str | None:
    """Return why a column of events says nothing that features can be made of; None where it may.

    Of a text with many values, how many different ones there were still counts.
    """
    if column.distinct <= 1 and not (column.distinct and column.missing):
        return _("has the same value everywhere") if column.distinct else _("is empty")
    if column.is_unique and column.type == "text":
        return _("identifies the row")
    if column.type == "integer" and ID_NAME.search(column.name):
        return _("is called like an identifier")
    return None


def _is_counter(column: Profile) -> bool:
    """Whether a whole number with no two alike is called like an identifier."""
    return column.type == "integer" and bool(ID_NAME.search(column.name) or not column.name)


def categories(column: Profile) -> tuple[str, ...]:
    """Return the values of a text that are features of their own, sorted."""
    least = MIN_CATEGORY_ROWS if column.known >= 20 * MIN_CATEGORY_ROWS else 1
    frequent = [value for value, count in column.values[:MAX_CATEGORIES] if count >= least]
    return tuple(sorted(frequent))
