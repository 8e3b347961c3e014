"""Whether a result is too good to be true, points the right way, and was reached honestly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vigie.audit.result import Part
from vigie.i18n import _
from vigie.verdict import Verdict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vigie.dataset.spec import Dataset

# What a single honest column hardly ever reaches.
SUSPECT_AUC = 0.95
# Where the declaration says nothing: better than this, nobody would need a model.
TOO_GOOD_AUC = 0.98
SHOWN_SUSPECTS = 5
SHUFFLED_TREES = 60
# How far from one half chance alone may lead, in standard errors; and what is let through anyway.
CHANCE_ERRORS = 4.0
CHANCE_FLOOR = 0.02


def single_aucs(
    matrix: npt.NDArray[np.float32], labels: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Return for each feature the AUC (0.5 to 1) that it alone reaches.

    Missing values count as the lowest or as the highest, whichever tells more.
    """
    import numpy as np
    from sklearn.metrics import roc_auc_score

    labelled = labels >= 0
    outcome, values = labels[labelled], matrix[labelled]
    found = np.full(matrix.shape[1], 0.5)
    for place in range(matrix.shape[1]):
        column = values[:, place].astype(np.float64)
        known = np.isfinite(column)
        ends = (column[known].min() - 1, column[known].max() + 1) if known.any() else (0.0,)
        for end in ends if not known.all() else ends[:1]:
            auc = float(roc_auc_score(outcome, np.where(known, column, end)))
            found[place] = max(found[place], auc, 1 - auc)
    return found


def check_single_features(
    aucs: npt.NDArray[np.float64], features: Sequence[Mapping[str, Any]]
) -> Part:
    """List the features that alone tell the outcomes apart."""
    suspects = [
        (feature, float(auc))
        for feature, auc in zip(features, aucs, strict=True)
        if auc > SUSPECT_AUC
    ]
    figures = {
        "limit": SUSPECT_AUC,
        "suspects": {feature["name"]: auc for feature, auc in suspects},
    }
    if suspects:
        lines = [
            _("{name}: AUC {auc:.3f}, from {source}").format(
                name=feature["name"], auc=auc, source=provenance(feature)
            )
            for feature, auc in sorted(suspects, key=lambda pair: -pair[1])
        ]
        said = _("Features that alone tell the outcomes apart; were they known at the cut-off?")
        return Part("single_features", Verdict.FAIL, "\n".join([said, *lines]), figures)
    best = int(aucs.argmax())
    said = _("no feature alone has an AUC above {limit}; the best is {name} with {auc:.3f}")
    return Part(
        "single_features",
        Verdict.PASS,
        said.format(limit=SUSPECT_AUC, name=features[best]["name"], auc=aucs[best]),
        figures,
    )


def provenance(feature: Mapping[str, Any]) -> str:
    """Return table, column and clock that a feature comes from."""
    parts = [str(feature["source"])]
    if feature.get("column"):
        parts.append(str(feature["column"]))
    if feature.get("clock"):
        parts.append(_("clock {clock}").format(clock=feature["clock"]))
    return ", ".join(parts)


def check_shuffled_label(
    matrix: npt.NDArray[np.float32],
    labels: npt.NDArray[Any],
    groups: npt.NDArray[Any],
    *,
    seed: int,
    threads: int,
) -> Part:
    """Learn an outcome that was shuffled: what the model then knows came in by another way."""
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    known = np.flatnonzero(labels >= 0)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(labels[known])
    _names, codes = np.unique(groups[known], return_inverse=True)
    held_out = (rng.permutation(codes.max() + 1) % 3 == 0)[codes]
    auc, error = 0.5, 0.0
    if min(np.unique(shuffled[~held_out]).size, np.unique(shuffled[held_out]).size) == 2:
        model = RandomForestClassifier(
            n_estimators=SHUFFLED_TREES,
            min_samples_leaf=5,
            max_samples=0.5,
            random_state=seed,
            n_jobs=threads,
        )
        model.fit(matrix[known][~held_out], shuffled[~held_out])
        scores = model.predict_proba(matrix[known][held_out])[:, 1]
        auc = float(roc_auc_score(shuffled[held_out], scores))
        bad = int(shuffled[held_out].sum())
        good = int(held_out.sum()) - bad
        # Of the AUC when nothing is known (Hanley and McNeil 1982).
        error = math.sqrt((bad + good + 1) / (12 * bad * good))
    limit = max(CHANCE_FLOOR, CHANCE_ERRORS * error)
    passed = abs(auc - 0.5) <= limit
    said = _("with the outcomes shuffled the AUC is {auc:.3f}; chance allows .5 ± {limit:.3f}")
    return Part(
        "shuffled_label",
        Verdict.PASS if passed else Verdict.FAIL,
        said.format(auc=auc, limit=limit),
        {"auc": auc, "limit": limit},
    )


def check_groups(groups: Sequence[Any], folds: Sequence[int], origins: Sequence[str]) -> Part:
    """See that nobody's rows are in two folds."""
    seen: dict[Any, set[int]] = {}
    for group, fold, origin in zip(groups, folds, origins, strict=True):
        if origin == "fold":
            seen.setdefault(group, set()).add(int(fold))
    torn = [group for group, found in seen.items() if len(found) > 1]
    figures = {"groups": len(seen), "in_two_folds": len(torn)}
    if torn:
        said = _("{count} of {groups} have rows in several folds, {first} for one").format(
            count=len(torn), groups=len(seen), first=torn[0]
        )
        return Part("groups", Verdict.FAIL, said, figures)
    said = _("none of {groups} has rows on both sides of a fold").format(groups=f"{len(seen):,}")
    return Part("groups", Verdict.PASS, said, figures)


def check_direction(scores: npt.NDArray[np.float64], labels: npt.NDArray[Any]) -> Part:
    """See that who came to a bad end had the higher scores."""
    bad, good = float(scores[labels == 1].mean()), float(scores[labels == 0].mean())
    said = _("mean score of the bad outcomes {bad:.3f}, of the others {good:.3f}")
    return Part(
        "direction",
        Verdict.PASS if bad > good else Verdict.FAIL,
        said.format(bad=bad, good=good),
        {"bad": bad, "good": good},
    )


def check_too_good(
    auc: float | None,
    dataset: Dataset,
    cutoff_days: int | None,
    aucs: npt.NDArray[np.float64],
    features: Sequence[Mapping[str, Any]],
) -> Part:
    """Raise an alarm where the hold-out's AUC is better than anybody has honestly reached."""
    limit = too_good_auc(dataset, cutoff_days)
    figures = {"auc": auc, "limit": limit}
    if auc is None:
        return Part("too_good", Verdict.WARN, _("there is no AUC to judge"), figures)
    if auc <= limit:
        said = _("AUC {auc:.3f} on the hold-out; an alarm is raised above {limit:.3f}")
        return Part("too_good", Verdict.PASS, said.format(auc=auc, limit=limit), figures)
    order = aucs.argsort()[::-1][:SHOWN_SUSPECTS]
    lines = [
        _("{name}: AUC {auc:.3f}, from {source}").format(
            name=features[place]["name"], auc=aucs[place], source=provenance(features[place])
        )
        for place in order
    ]
    said = _(
        "AUC {auc:.3f} on the hold-out is too good to be true (above {limit:.3f}); the suspects:"
    ).format(auc=auc, limit=limit)
    return Part("too_good", Verdict.FAIL, "\n".join([said, *lines]), figures)


def too_good_auc(dataset: Dataset, cutoff_days: int | None) -> float:
    """Return the AUC above which nobody believes it, at this cut-off."""
    limits = sorted(
        dataset.audit.too_good, key=lambda one: math.inf if one.day is None else one.day
    )
    for one in limits:
        if one.day is None or cutoff_days is None or cutoff_days <= one.day:
            return one.auc
    return limits[-1].auc if limits else TOO_GOOD_AUC
