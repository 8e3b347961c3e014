"""The model card: what a model is for, how well it does, and for whom less well.

Its parts follow Mitchell et al. 2019, "Model Cards for Model Reporting"; every figure in it comes
from the run that wrote it.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vigie.i18n import _, use_language
from vigie.names import shown_periods

_TOPICS_SHOWN = 8


def model_card(
    document: Mapping[str, Any],
    metadata: Mapping[str, Any],
    features: Mapping[str, Any],
    *,
    language: str,
    title: Mapping[str, str] | None,
    attribution: str | None,
    things: Mapping[str, str],
    reasons: Mapping[str, Mapping[str, str]],
) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    document
        What stands in ``reports/metrics_{mode}.json``.
    metadata
        The model's.
    features
        Those of the features.
    title, attribution
        The data set's, where it has them.
    things
        What the rows are called, by language.
    reasons
        The same of each reason for which rows are left out.
    """
    lines = contextvars.copy_context().run(
        lambda: list(
            _Card(
                document, metadata, features, language, title, attribution, things, reasons
            ).lines()
        )
    )
    return "\n".join(lines) + "\n"


class _Card:
    """The parts of a card, line by line."""

    def __init__(
        self,
        document: Mapping[str, Any],
        metadata: Mapping[str, Any],
        features: Mapping[str, Any],
        language: str,
        title: Mapping[str, str] | None,
        attribution: str | None,
        things: Mapping[str, str],
        reasons: Mapping[str, Mapping[str, str]],
    ) -> None:
        use_language(language)
        self.document, self.metadata, self.features = document, metadata, features
        self.language, self.title, self.attribution = language, title, attribution
        self.things = things.get(language) or things["en"]
        self.holdout = document["holdout"]
        self.reasons = reasons

    def _reason(self, name: str) -> str:
        known = self.reasons.get(name)
        return self._words(known) if known else _("no cut-off")

    def lines(self) -> Iterator[str]:
        version = self.metadata["version"]
        yield "# " + _("Model card: {version}").format(version=version)
        yield ""
        if self.metadata["generated"]:
            yield (
                "**"
                + _("Made of generated data: it says nothing about real {things}.").format(
                    things=self.things
                )
                + "**"
            )
            yield ""
        yield from self._what()
        yield from self._data()
        yield from self._quality()
        yield from self._groups()
        yield from self._importance()
        yield from self._use()

    def _heading(self, text: str) -> Iterator[str]:
        yield "## " + text
        yield ""

    def _words(self, label: Mapping[str, str]) -> str:
        return label.get(self.language) or label.get("en", "")

    def _number(self, value: float | None, digits: int = 3) -> str:
        if value is None:
            return "–"
        text = f"{value:.{digits}f}"
        return text.replace(".", ",") if self.language == "fr" else text

    def _percent(self, share: float | None) -> str:
        return "–" if share is None else self._number(share * 100, 0) + " %"

    def _with_interval(self, metric: Mapping[str, Any]) -> str:
        if metric.get("low") is None:
            return self._number(metric["value"])
        low, high = self._number(metric["low"]), self._number(metric["high"])
        return f"{self._number(metric['value'])} [{low}; {high}]"

    def _what(self) -> Iterator[str]:
        yield from self._heading(_("What it predicts"))
        label = self._words(self.features["label"]["name"])
        yield _('For each of the {things}: the probability of "{label}".').format(
            things=self.things, label=label
        )
        if self.metadata["cutoff_days"] is not None:
            yield _("It knows what was known on day {day}, and nothing later.").format(
                day=self.metadata["cutoff_days"]
            )
        yield ""
        params = ", ".join(f"{name} = {value}" for name, value in self.metadata["params"].items())
        rows = [
            (_("kind"), f"{self.metadata['kind']} ({params})"),
            (_("calibrated"), self.metadata["calibrate"] or _("no")),
            (_("trained"), self.metadata["trained_at"]),
            (_("mode"), self.metadata["mode"]),
            (
                _("versions"),
                ", ".join(f"{name} {v}" for name, v in self.metadata["libraries"].items()),
            ),
            ("sha256", f"`{self.metadata['sha256']}`"),
        ]
        yield from _table(("", ""), rows)

    def _data(self) -> Iterator[str]:
        yield from self._heading(_("On what data"))
        named = self.metadata["dataset"]
        yield f"{self._words(self.title)} ({named})." if self.title else f"{named}."
        if self.attribution:
            yield self.attribution + "."
        counts, split = self.features["counts"], self.document["split"]
        yield ""
        rows = [(_("rows"), f"{counts['cohort']:,}")]
        rows += [
            (_("left out: {reason}").format(reason=self._reason(reason)), f"{count:,}")
            for reason, count in counts["excluded"].items()
            if count
        ]
        rows += [
            (_("with an outcome"), f"{counts['positive'] + counts['negative']:,}"),
            (_("of them at risk"), f"{counts['positive']:,}"),
            (_("features"), f"{self.features['columns']:,}"),
            (_("learnt from, to be judged"), f"{split['train_rows']:,}"),
            (
                _("judged on"),
                _("{rows} rows of {periods}").format(
                    rows=f"{split['holdout_rows']:,}",
                    periods=shown_periods(split["holdout_periods"]),
                )
                if split["holdout_periods"]
                else f"{split['holdout_rows']:,} " + _("(persons drawn at random)"),
            ),
        ]
        yield from _table(("", ""), rows)

    def _quality(self) -> Iterator[str]:
        yield from self._heading(_("How well"))
        yield _("On rows that the judged model never saw; 95 % intervals over persons.")
        yield ""
        logistic = self.holdout["comparison"].get("logistic_regression", {}).get("metrics", {})
        rows = [
            (
                label,
                self._with_interval(self.holdout["metrics"][name]),
                self._number(self.holdout["metrics"][name]["baseline"]),
                self._number(logistic.get(name, {}).get("value")),
            )
            for name, label in (
                ("roc_auc", _("AUC")),
                ("average_precision", _("average precision")),
                ("recall", _("recall")),
                ("precision", _("precision")),
                ("accuracy", _("accuracy")),
                ("brier", _("Brier score")),
            )
        ]
        yield from _table(
            ("", _("this model"), _("saying the same of all"), _("logistic regression")), rows
        )
        error = self.holdout["calibration"]["expected_calibration_error"] * 100
        yield _(
            "Threshold {threshold}. Scores are off by {error} points of a hundred on average."
        ).format(threshold=self._number(self.holdout["threshold"], 3), error=self._number(error, 1))
        confusion = self.holdout["confusion"]
        yield _(
            "Of {positive} at risk {found} were found and {missed} missed; {alarms} were flagged "
            "who were not at risk."
        ).format(
            positive=f"{self.holdout['positives']:,}",
            found=f"{confusion['true_positive']:,}",
            missed=f"{confusion['false_negative']:,}",
            alarms=f"{confusion['false_positive']:,}",
        )
        everybody = self.document.get("populations", {}).get("everybody")
        if everybody:
            yield _(
                "With the {gone} counted in that were gone by the cut-off, whose outcome needs no "
                "model, the AUC would be {auc}."
            ).format(
                gone=f"{everybody['known_bad']:,}",
                auc=self._number(everybody["metrics"]["roc_auc"]["value"]),
            )
        yield ""

    def _groups(self) -> Iterator[str]:
        columns = self.holdout["groups"]
        if not columns:
            return
        yield from self._heading(_("For whom less well"))
        short = []
        for column in columns:
            yield "### " + self._words(column["label"])
            yield ""
            rows = []
            for group in column["groups"]:
                size = f"{group['rows']:,}"
                if group.get("too_small"):
                    rows.append((_cell(group["value"]), size, _("too few"), "", "", ""))
                    continue
                mark = " ⚠" if group["falls_short"] else ""
                if group["falls_short"]:
                    short.append(f"{self._words(column['label'])} {group['value']}")
                rows.append(
                    (
                        _cell(group["value"]),
                        size,
                        self._with_interval(group["roc_auc"]),
                        self._with_interval(group["recall"]) + mark,
                        self._percent(group["false_positive_rate"]["value"]),
                        self._percent(group["flagged_share"]),
                    )
                )
            heads = ("", _("rows"), _("AUC"), _("recall"), _("false alarms"), _("flagged"))
            yield from _table(heads, rows)
        if short:
            yield _("⚠ Fewer of those at risk are found than of all: {groups}.").format(
                groups=", ".join(short)
            )
        else:
            yield _("No group falls short of the others by more than the margin that was set.")
        yield ""

    def _importance(self) -> Iterator[str]:
        topics = self.metadata.get("permutation_importance") or []
        if not topics:
            return
        yield from self._heading(_("What counts"))
        yield _("The AUC that is lost on the hold-out when a topic's columns are shuffled.")
        yield ""
        rows = [
            (self._words(one["label"]), self._number(one["value"]))
            for one in topics[:_TOPICS_SHOWN]
        ]
        yield from _table((_("topic"), _("AUC lost")), rows)

    def _use(self) -> Iterator[str]:
        yield from self._heading(_("Intended use and limits"))
        yield "- " + _(
            "It is meant to tell people where to look first and offer help. It is not meant to "
            "decide anything about a person without a person."
        )
        yield "- " + _(
            "It finds what goes along with the bad outcome, not what causes it: changing a feature "
            "need not change the outcome."
        )
        yield "- " + _(
            "It holds for data that come about as these did. Judge it anew for every new period, "
            "and look at the drift before acting on its scores."
        )
        yield "- " + _(
            "Of those it flags, {alarms} of a hundred are not at risk; of those at risk, it misses "
            "{missed} of a hundred."
        ).format(
            alarms=self._rate(self.holdout["metrics"]["precision"]["value"]),
            missed=self._rate(self.holdout["metrics"]["recall"]["value"]),
        )
        sensitive = [one for one in self.features.get("reported", ()) if one["sensitive"]]
        if sensitive:
            fed = {one.get("column") for one in self.features["features"]}
            used = [one for one in sensitive if one["column"] in fed]
            if used:
                yield "- " + _("It is fed personal columns: {columns}.").format(
                    columns=", ".join(self._words(one["label"]) for one in used)
                )

    def _rate(self, share: float | None) -> str:
        return "–" if share is None else self._number((1 - share) * 100, 0)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
    yield ""
