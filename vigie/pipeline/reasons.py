"""Why a step runs, is skipped or cannot run: typed values, each of which can say itself in words.

Values of settings appear as the fingerprint holds them, where passwords are masked already.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vigie.i18n import _
from vigie.pipeline.fingerprint import canonical_json
from vigie.pipeline.ledger import Status

SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a step runs, is skipped or cannot run."""

    def describe(self) -> str:
        """Return one translated line."""
        raise NotImplementedError

    def to_record(self) -> dict[str, Any]:
        """Return its kind and fields as plain JSON values."""
        return {"kind": type(self).__name__, **asdict(self)}


@dataclass(frozen=True, slots=True)
class NeverRan(Reason):
    """The ledger has no outcome of this step."""

    def describe(self) -> str:
        """Return one translated line."""
        return _("it has not run yet")


@dataclass(frozen=True, slots=True)
class PreviousFailed(Reason):
    """The last try with this fingerprint, or the only tries there were, did not succeed."""

    status: str
    when: str

    def describe(self) -> str:
        """Return one translated line."""
        if self.status == Status.INTERRUPTED:
            return _("it was interrupted on {when}").format(when=shown_time(self.when))
        return _("it failed on {when}").format(when=shown_time(self.when))


@dataclass(frozen=True, slots=True)
class Forced(Reason):
    """A person asked for it."""

    def describe(self) -> str:
        """Return one translated line."""
        return _("--force asks for it")


@dataclass(frozen=True, slots=True)
class VersionChanged(Reason):
    """The step's hand-raised version is another."""

    old: int
    new: int

    def describe(self) -> str:
        """Return one translated line."""
        return _("the step's version changed from {old} to {new}").format(
            old=self.old, new=self.new
        )


@dataclass(frozen=True, slots=True)
class ParamChanged(Reason):
    """A setting has another value; None stands for none."""

    key: str
    old: Any
    new: Any

    def describe(self) -> str:
        """Return one translated line."""
        return _("`{key}` changed from {old} to {new}").format(
            key=self.key, old=_shown(self.old), new=_shown(self.new)
        )


@dataclass(frozen=True, slots=True)
class CodeChanged(Reason):
    """The code of these modules is another, came or went."""

    modules: tuple[str, ...]

    def describe(self) -> str:
        """Return one translated line."""
        return _("the code changed: {modules}").format(modules=", ".join(self.modules))


@dataclass(frozen=True, slots=True)
class LibraryChanged(Reason):
    """A library has another version; None where it is not installed."""

    name: str
    old: str | None
    new: str | None

    def describe(self) -> str:
        """Return one translated line."""
        nothing = _("not installed")
        return _("the library {name} changed from {old} to {new}").format(
            name=self.name, old=self.old or nothing, new=self.new or nothing
        )


@dataclass(frozen=True, slots=True)
class InputChanged(Reason):
    """An input has other content than the last success read."""

    name: str
    old: str | None
    new: str | None

    def describe(self) -> str:
        """Return one translated line."""
        return _("the input `{name}` changed").format(name=self.name)


@dataclass(frozen=True, slots=True)
class InputWillChange(Reason):
    """A step of this plan makes the input anew; decided again when that has happened."""

    name: str
    by_step: str

    def describe(self) -> str:
        """Return one translated line."""
        return _("step {step} makes its input `{name}` anew").format(
            step=self.by_step, name=self.name
        )


@dataclass(frozen=True, slots=True)
class OutputMissing(Reason):
    """An output is not there."""

    name: str

    def describe(self) -> str:
        """Return one translated line."""
        return _("its output `{name}` is missing").format(name=self.name)


@dataclass(frozen=True, slots=True)
class OutputTampered(Reason):
    """An output is not as the last success left it."""

    name: str

    def describe(self) -> str:
        """Return one translated line."""
        return _("its output `{name}` is not as the last run left it").format(name=self.name)


@dataclass(frozen=True, slots=True)
class UpToDate(Reason):
    """Nothing that decides the result has changed since then."""

    since: str

    def describe(self) -> str:
        """Return one translated line."""
        return _("nothing has changed since {when}").format(when=shown_time(self.since))


@dataclass(frozen=True, slots=True)
class RolledBack(UpToDate):
    """Nothing has changed since a person made an earlier model the current one."""

    version: str

    def describe(self) -> str:
        """Return one translated line."""
        return _("rolled back to {version} on {when}, and nothing has changed since").format(
            version=self.version, when=shown_time(self.since)
        )


@dataclass(frozen=True, slots=True)
class InputMissing(Reason):
    """An input is not there, and no step of this plan will make it."""

    name: str
    made_by: str | None

    def describe(self) -> str:
        """Return one translated line."""
        if self.made_by is None:
            return _("its input `{name}` is missing").format(name=self.name)
        return _("its input `{name}` is missing; step {step} makes it").format(
            name=self.name, step=self.made_by
        )


def shown_time(timestamp: str) -> str:
    """Return an ISO timestamp in UTC as people read it, to the minute."""
    return f"{timestamp[:16].replace('T', ' ')} UTC"


def _shown(value: Any) -> str:
    if value is None:
        return _("nothing")
    text = canonical_json(value) if not isinstance(value, str) else value
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
