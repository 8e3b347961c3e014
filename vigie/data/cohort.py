"""The cohort: one row for each thing to score, made by the declaration's expressions."""

from __future__ import annotations

from dataclasses import dataclass, field

from vigie.data.table_engine import ORDER, ExpressionFault, TableEngine
from vigie.dataset.spec import (
    CLOCK,
    CUTOFF,
    CUTOFF_DATE,
    KNOWN_DATE,
    ROW_ID,
    AttributeFeature,
    Cohort,
    Dataset,
    EventFeatures,
    ExpectedFeatures,
    LabelWindow,
    Lookup,
    cohort_column,
    report_column,
)
from vigie.engine import quote_name, quote_text
from vigie.errors import DataError, DeclarationError
from vigie.i18n import _

COHORT = "cohort"
NO_CUTOFF = "no_cutoff"


@dataclass(slots=True)
class TransformReport:
    """What became of the rows.

    ``set_aside`` counts, for each table, the rows whose keys don't hold, by reason; ``excluded``
    counts who is not in the cohort, by reason, in the order of the declaration. ``known_bad``
    counts, by period, those among them whose bad outcome is known by the cut-off.
    """

    rows: dict[str, int] = field(default_factory=dict)
    set_aside: dict[str, dict[str, int]] = field(default_factory=dict)
    candidates: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    known_bad: dict[str, int] = field(default_factory=dict)
    eligible: int = 0
    cohort: int = 0
    positives: int = 0
    unlabelled: int = 0


def clean_view(name: str, suffix: str = "") -> str:
    """Return the name, quoted, of the view of a clean table."""
    return quote_name(f"clean_{name}{suffix}")


def make_cohort(
    engine: TableEngine,
    dataset: Dataset,
    cutoff: int | None,
    report: TransformReport,
) -> None:
    """Make the table ``cohort`` from the clean views, and count who is in it and who is not.

    Raises
    ------
    DataError
        When nobody is left.
    DeclarationError
        When an expression can't be understood, or two rows have the same key.
    """
    cohort = dataset.cohort
    for name in dataset.tables:
        # Under their own names, for the declaration's expressions.
        engine.make_view(quote_name(name), f"SELECT * EXCLUDE ({ORDER}) FROM {clean_view(name)}")
    first_reason = " ".join(
        f"WHEN {one.when} THEN {quote_text(one.reason)}" for one in cohort.exclude
    )
    group = [cohort.group] if cohort.group else list(cohort.key)
    together = ", ".join(f"CAST(c.{quote_name(name)} AS VARCHAR)" for name in group)
    known, positive = label_sql(dataset)
    # Under names of its own: the table's columns may be called label or period too.
    rows = rows_sql(dataset, cutoff, has_asof=engine.has_asof)
    _make_declared(
        engine,
        "vigie_candidates",
        f"SELECT *, CASE WHEN {_no_cutoff(cohort)} THEN {quote_text(NO_CUTOFF)} {first_reason} END "
        f"AS vigie_excluded, CASE WHEN {known} THEN CAST(({positive}) AS TINYINT) END "
        f"AS vigie_label, concat_ws(chr(31), {together}) AS vigie_group, "
        f"{period_sql(cohort)} AS vigie_period FROM ({rows}) AS c",
    )
    report.candidates = engine.count("vigie_candidates")
    for reason in [
        *([NO_CUTOFF] if cohort.cutoff else []),
        *(one.reason for one in cohort.exclude),
    ]:
        report.excluded[reason] = engine.count(
            f"vigie_candidates WHERE vigie_excluded = {quote_text(reason)}"
        )
    report.known_bad = _known_bad(engine, cohort)
    kept = [name for name in _attribute_columns(dataset) if name not in cohort.key]
    key = ", ".join(quote_name(name) for name in cohort.key)
    hidden = _hidden_until_known(dataset)
    attributes = "".join(
        f", {hidden.get(name, quote_name(name))} AS {quote_name(cohort_column(name))}"
        for name in kept
    )
    _make_declared(
        engine,
        COHORT,
        f"SELECT CAST(row_number() OVER (ORDER BY {key}) - 1 AS INTEGER) AS cohort_id, {key}, "
        f"{CUTOFF}, "
        f"vigie_label AS label, vigie_group AS group_key, vigie_period AS period"
        f"{attributes}{_reported(dataset)} "
        "FROM vigie_candidates WHERE vigie_excluded IS NULL",
    )
    report.eligible = engine.count(COHORT)
    if not report.eligible:
        raise DataError(
            _("Nobody is left to score at cut-off {cutoff}.").format(cutoff=cutoff)
            if dataset.uses_cutoff_days
            else _("Nobody is left to score."),
            where=", ".join(f"{reason}: {count}" for reason, count in report.excluded.items()),
            fix=_("Choose another --cutoff-days, or look at the exclusions of the declaration."),
        )
    _refuse_repeated(engine, cohort)


def _known_bad(engine: TableEngine, cohort: Cohort) -> dict[str, int]:
    reasons = [quote_text(one.reason) for one in cohort.exclude if one.outcome_known]
    if not reasons:
        return {}
    found = engine.rows(
        f"SELECT vigie_period, count(*) FROM vigie_candidates "
        f"WHERE vigie_excluded IN ({', '.join(reasons)}) AND vigie_label = 1 "
        "GROUP BY ALL ORDER BY 1"
    )
    return {str(period): int(count) for period, count in found}


def _reported(dataset: Dataset) -> str:
    """Return SQL for the columns that results are reported by, and for the dates of each row."""
    cohort = dataset.cohort
    columns = "".join(
        f", {quote_name(name)} AS {quote_name(report_column(name))}" for name in dataset.reported
    )
    if cohort.label.known_on is None:
        return columns
    cutoff = f"CAST({CUTOFF} AS DATE)"
    if cohort.day_zero is not None:
        cutoff = f"CAST(({cohort.day_zero}) AS DATE) + CAST({CUTOFF} AS INTEGER)"
    return (
        f"{columns}, {cutoff} AS {CUTOFF_DATE}, "
        f"CAST(({cohort.label.known_on}) AS DATE) AS {KNOWN_DATE}"
    )


def rows_sql(dataset: Dataset, cutoff: int | None, *, has_asof: bool = True) -> str:
    """Return SQL for the cohort's rows with what lookups add, and the cut-off of each."""
    cohort = dataset.cohort
    rows = f"({cohort.sql})" if cohort.table is None else clean_view(cohort.table)
    for number, lookup in enumerate(cohort.lookups):
        if not _is_versioned(dataset, lookup):
            using = ", ".join(quote_name(name) for name in lookup.on)
            rows += f" LEFT JOIN ({_lookup_sql(dataset, number)}) USING ({using})"
    rows = _with_cutoff(cohort, rows, cutoff)
    join = _asof_join if has_asof else _ranked_join
    for number, lookup in enumerate(cohort.lookups):
        if _is_versioned(dataset, lookup):
            rows = join(rows, lookup, _lookup_sql(dataset, number), _lookup_clock(number))
    return rows


def _asof_join(rows: str, lookup: Lookup, versions: str, clock: str) -> str:
    """Return SQL for `rows` with the last of their versions that was known at the cut-off."""
    wanted = ", ".join(f"v.{quote_name(name)}" for name in lookup.columns)
    matches = " AND ".join(f"r.{quote_name(n)} = v.{quote_name(n)}" for n in lookup.on)
    return (
        f"SELECT r.*, {wanted} FROM ({rows}) AS r ASOF LEFT JOIN "
        f"({versions}) AS v ON {matches} AND r.{CUTOFF} >= v.{clock}"
    )


def _ranked_join(rows: str, lookup: Lookup, versions: str, clock: str) -> str:
    """Return the same without ``ASOF``: the versions of each key and cut-off are ranked."""
    on = [quote_name(name) for name in lookup.on]
    asked = ", ".join([*on, CUTOFF])
    matches = " AND ".join(f"a.{name} = v.{name}" for name in on)
    key = ", ".join([*(f"a.{name}" for name in on), f"a.{CUTOFF}"])
    wanted = "".join(f", v.{quote_name(name)}" for name in lookup.columns)
    ranked = (
        f"SELECT {key}{wanted}, row_number() OVER (PARTITION BY {key} ORDER BY v.{clock} DESC) "
        f"AS vigie_rank FROM (SELECT DISTINCT {asked} FROM ({rows})) AS a "
        f"JOIN ({versions}) AS v ON {matches} AND a.{CUTOFF} >= v.{clock}"
    )
    same = " AND ".join(f"r.{name} = l.{name}" for name in [*on, CUTOFF])
    shown = "".join(f", l.{quote_name(name)}" for name in lookup.columns)
    return (
        f"SELECT r.*{shown} FROM ({rows}) AS r LEFT JOIN ({ranked}) AS l "
        f"ON {same} AND l.vigie_rank = 1"
    )


def _is_versioned(dataset: Dataset, lookup: Lookup) -> bool:
    """Whether the table that is looked up has several rows for one, each from its clock on."""
    table = dataset.tables[lookup.table]
    return table.clock is not None and not set(table.primary_key) <= set(lookup.on)


def _lookup_clock(number: int) -> str:
    return f"vigie_lookup_{number}"


def _lookup_sql(dataset: Dataset, number: int) -> str:
    """Return what a lookup of the cohort takes, and since when its row is known."""
    lookup = dataset.cohort.lookups[number]
    wanted = ", ".join(quote_name(name) for name in (*lookup.on, *lookup.columns))
    clock = dataset.clock_of(lookup.table)
    if clock is None:
        return f"SELECT {wanted} FROM {clean_view(lookup.table)}"
    # A timestamp is known on its day where cut-offs are days.
    value = f"CAST({CLOCK} AS DATE)" if clock.type == "timestamp" else CLOCK
    rows = dataset.clocked_sql(lookup.table, clean_view)
    return f"SELECT {wanted}, {value} AS {_lookup_clock(number)} FROM ({rows})"


def _hidden_until_known(dataset: Dataset) -> dict[str, str]:
    """Return SQL for columns of lookups with a clock: nothing before their row was known."""
    hidden: dict[str, str] = {}
    for number, lookup in enumerate(dataset.cohort.lookups):
        if dataset.tables[lookup.table].clock is None or _is_versioned(dataset, lookup):
            continue
        for name in lookup.columns:
            known = f"{_lookup_clock(number)} <= {CUTOFF}"
            hidden[name] = f"CASE WHEN {known} THEN {quote_name(name)} END"
    return hidden


def _with_cutoff(cohort: Cohort, rows: str, cutoff: int | None) -> str:
    number = f", {ORDER} AS {ROW_ID}" if ROW_ID in cohort.key else ""
    days = f"CAST({'NULL' if cutoff is None else cutoff} AS INTEGER)"
    if cohort.cutoff is None:
        return f"SELECT *, {days} AS {CUTOFF}{number} FROM {rows}"
    if cohort.cutoff.strip().lower() == CUTOFF:
        return f"SELECT *{number} FROM {rows}"
    return (
        f"SELECT * EXCLUDE (cutoff_days), ({cohort.cutoff}) AS {CUTOFF} "
        f"FROM (SELECT *{number}, {days} AS cutoff_days FROM {rows})"
    )


def _no_cutoff(cohort: Cohort) -> str:
    return f"{CUTOFF} IS NULL" if cohort.cutoff else "false"


def period_sql(cohort: Cohort) -> str:
    """Return SQL for what orders the rows in time."""
    if cohort.period:
        return f"CAST({cohort.period} AS VARCHAR)"
    return f"CAST({CUTOFF} AS VARCHAR)" if cohort.cutoff else "'all'"


def window_events_sql(dataset: Dataset, window: LabelWindow) -> str:
    """Return the rows that an outcome may come from, with their clock and what is looked up."""
    events = f"({dataset.clocked_sql(window.table, quote_name)})"
    for lookup in window.lookups:
        wanted = ", ".join(quote_name(name) for name in (*lookup.on, *lookup.columns))
        using = ", ".join(quote_name(name) for name in lookup.on)
        events = (
            f"(SELECT * FROM {events} AS e LEFT JOIN "
            f"(SELECT {wanted} FROM {quote_name(lookup.table)}) AS l USING ({using}))"
        )
    return events


def label_sql(dataset: Dataset) -> tuple[str, str]:
    """Return when the outcome is known, and when it is bad, as SQL over the cohort's rows ``c``."""
    label = dataset.cohort.label
    if label.window is None:
        return label.known_sql, label.positive_sql
    window = label.window
    kind = dataset.needed_clock(window.table).type
    events = window_events_sql(dataset, window)
    clock = f"CAST(e.{CLOCK} AS DATE)" if kind == "timestamp" else f"e.{CLOCK}"
    begin = f"c.{CUTOFF}" if kind == "day" else f"CAST(c.{CUTOFF} AS DATE)"
    matches = " AND ".join(f"e.{quote_name(name)} = c.{quote_name(name)}" for name in window.on)
    when = f" AND ({window.when})" if window.when else ""
    any_row = (
        f"EXISTS (SELECT 1 FROM {events} AS e WHERE {matches} "
        f"AND {clock} > {begin} AND {clock} <= {begin} + {window.days}"
    )
    happened = f"{any_row}{when})"
    latest = f"(SELECT max({clock}) FROM {events} AS e)"
    bad = f"NOT {happened}" if window.bad == "none" else happened
    known = label.known or f"{begin} + {window.days} <= {latest}"
    return f"({known}) AND {any_row})" if window.known_if_any else known, bad


def _make_declared(engine: TableEngine, name: str, sql: str) -> None:
    """Make a table by SQL that has the declaration's expressions; what is wrong there is named."""
    try:
        engine.make_table(name, sql)
    except ExpressionFault as fault:
        raise DeclarationError(
            _("The cohort's expressions can't be understood: {reason}").format(reason=fault),
            where="cohort",
            fix=_("Correct the expression; the columns are those of the table and its lookups."),
        ) from fault


def _refuse_repeated(engine: TableEngine, cohort: Cohort) -> None:
    """Refuse a cohort in which two rows have one key: scores could not be told apart."""
    key = ", ".join(quote_name(name) for name in cohort.key)
    rows = engine.rows(
        f"SELECT {key}, count(*) FROM {COHORT} GROUP BY ALL HAVING count(*) > 1 LIMIT 1"
    )
    if rows:
        shown = ", ".join(
            f"{name} = {value}" for name, value in zip(cohort.key, rows[0], strict=False)
        )
        raise DeclarationError(
            _("Several rows to score have the same key: {key}.").format(key=shown),
            where="cohort.key",
            fix=_("Add the columns that tell them apart, the cut-off for instance."),
        )


def _attribute_columns(dataset: Dataset) -> list[str]:
    """Return the columns that features read or match by; nothing else goes into the cohort.

    The label's own columns, and what happened after the cut-off, thus never lie beside what the
    features are made from.
    """
    import sqlglot

    names: list[str] = []
    # What events are matched by, where that isn't in the key.
    cohort = dataset.cohort
    known = set() if cohort.table is None else set(dataset.tables[cohort.table].columns)
    known |= {name for lookup in cohort.lookups for name in lookup.columns}
    for group in dataset.features:
        if isinstance(group, EventFeatures):
            names += [name for name in group.on if name in known]
        if isinstance(group, ExpectedFeatures):
            matched = (*group.due_on, *group.match.values())
            names += [name for name in matched if name in known]
        if isinstance(group, AttributeFeature):
            if group.column is not None:
                names.append(group.column)
            if group.expression is not None:
                tree = sqlglot.parse_one(group.expression, dialect="duckdb")
                names += [column.name for column in tree.find_all(sqlglot.exp.Column)]
    return list(dict.fromkeys(names))
