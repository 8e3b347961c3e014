"""Columns that know the answer: how well each tells the outcomes apart, all alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.engine import open_duckdb, quote_name, quote_text, scan_parquet
from vigie.infer.profile import FileProfile, Profile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# A single honest column that does this well is a rarity: the question would hardly be asked.
SUSPECT_AUC = 0.98
MAX_ROWS = 50_000
# How many rows' weight the overall share has beside a value's own.
_PRIOR_ROWS = 5.0
_FOLDS = 5


def single_aucs(
    profile: FileProfile, columns: list[Profile], target: Profile, positive: set[str]
) -> dict[str, float]:
    """Return for each column the AUC (0.5 to 1) that it alone has for the outcome.

    Of a number, its order counts, with missing ones at the end that tells more; of a text, the
    share of bad outcomes among other rows with the same text.
    """
    import numpy as np

    wanted = ", ".join(f"trim({quote_name(f'c{one.place}')})" for one in [target, *columns])
    with open_duckdb() as connection:
        rows = connection.execute(
            f"SELECT {wanted} FROM {_sampled(profile.parquet, profile.rows)}"
        ).fetchnumpy()
    arrays: list[npt.NDArray[Any]] = [
        np.ma.filled(np.ma.asarray(one, dtype=object), "") for one in rows.values()
    ]
    missing = {marker.strip() for marker in profile.markers}
    outcome = arrays[0]
    known = np.array([value not in missing for value in outcome])
    labels = np.array([value in positive for value in outcome[known]], dtype=np.int8)
    if len(np.unique(labels)) < 2:
        return {}
    found = {}
    for one, values in zip(columns, arrays[1:], strict=True):
        kept = values[known]
        if one.type in ("integer", "number"):
            numbers = _numbers(kept, profile, one.strip)
            high = np.where(np.isinf(numbers), np.inf, numbers)
            found[one.name] = max(_auc(numbers, labels), _auc(high, labels))
        else:
            found[one.name] = _auc(_shares_of_others(kept, labels), labels)
    return found


def _sampled(path: Path, rows: int) -> str:
    if rows <= MAX_ROWS:
        return scan_parquet(path)
    # The same rows each time: what is suspected must not depend on chance.
    return (
        f"(SELECT * FROM {scan_parquet(path)} "
        f"ORDER BY md5(concat_ws({quote_text(chr(31))}, COLUMNS(*))) LIMIT {MAX_ROWS})"
    )


def _numbers(
    values: npt.NDArray[Any], profile: FileProfile, strip: tuple[str, ...]
) -> npt.NDArray[np.float64]:
    import numpy as np

    dialect = profile.dialect
    numbers = np.full(len(values), -np.inf)
    for place, text in enumerate(values):
        for affix in strip:
            text = text.replace(affix, "")  # noqa: PLW2901
        plain = text.replace(dialect.thousands, "") if dialect.thousands else text
        try:
            numbers[place] = float(plain.replace(",", ".") if dialect.decimal == "," else plain)
        except ValueError:
            continue
    return numbers


def _shares_of_others(
    values: npt.NDArray[Any], labels: npt.NDArray[np.int8]
) -> npt.NDArray[np.float64]:
    import numpy as np

    _names, codes = np.unique(values.astype(str), return_inverse=True)
    # By other rows means by other folds: without just its own outcome, a value's share would be
    # lower for each bad row than for each good one, and tell them apart by that.
    folds = np.arange(len(labels)) % _FOLDS
    shares = np.empty(len(labels))
    for fold in range(_FOLDS):
        here = folds == fold
        rows = np.bincount(codes[~here], minlength=len(_names))
        bad = np.bincount(codes[~here], weights=labels[~here], minlength=len(_names))
        prior = labels[~here].mean()
        shares[here] = ((bad + prior * _PRIOR_ROWS) / (rows + _PRIOR_ROWS))[codes[here]]
    return shares


def _auc(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int8]) -> float:
    import numpy as np
    from sklearn.metrics import roc_auc_score

    finite = np.nan_to_num(scores)
    value = float(roc_auc_score(labels, finite))
    return max(value, 1 - value)
