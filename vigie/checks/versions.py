"""Whether the installed libraries are those of the lock file, which the tests were passed with."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import vigie
from vigie.checks.context import CheckContext
from vigie.checks.finding import Finding
from vigie.i18n import _, ngettext
from vigie.names import listed_briefly
from vigie.verdict import Verdict

NAME = "versions"
LOCK_NAME = "requirements.lock"
SHOWN_DIFFERENCES = 8
# "numpy==2.4.0 ; python_version >= '3.12' \": what follows are hashes.
_PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;([^\\]*))?")


def check_versions(context: CheckContext) -> Iterator[Finding]:
    """Compare what is installed with the lock file, or with what vigie asks for."""
    lock = find_lock(context.paths.project)
    if lock is None:
        wrong = unmet_requirements("vigie")
        if wrong:
            fix = _("Install them: pip install --upgrade vigie")
            yield Finding(NAME, Verdict.FAIL, "\n".join(wrong), fix)
            return
        said = _("within the bounds that vigie {version} asks for; there is no {lock} to compare")
        yield Finding(NAME, Verdict.PASS, said.format(version=vigie.__version__, lock=LOCK_NAME))
        return
    pins = locked_versions(lock.read_text("utf-8"))
    different = differences(pins, installed_versions(pins))
    if different:
        said = ngettext(
            "{count} library differs from {lock}: {names}",
            "{count} libraries differ from {lock}: {names}",
            len(different),
        ).format(
            count=len(different), lock=lock.name, names=listed_briefly(different, SHOWN_DIFFERENCES)
        )
        fix = _("pip install --require-hashes -r {lock}").format(lock=lock)
        yield Finding(NAME, Verdict.WARN, said, fix)
        return
    said = _("all {count} libraries are as in {lock}")
    yield Finding(NAME, Verdict.PASS, said.format(count=len(pins), lock=lock.name))


def find_lock(project: Path) -> Path | None:
    """Return the project's own lock file, else that of the checkout that vigie runs from."""
    for folder in (project, Path(vigie.__file__).resolve().parent.parent):
        if (folder / LOCK_NAME).is_file():
            return folder / LOCK_NAME
    return None


def locked_versions(text: str) -> dict[str, str]:
    """Return the pinned version of each library that this Python and system need.

    Examples
    --------
    >>> locked_versions("numpy==2.4.0 ; python_version >= '3'")
    {'numpy': '2.4.0'}
    """
    from packaging.markers import Marker

    found = {}
    for line in text.splitlines():
        match = _PIN.match(line)
        if match is None:
            continue
        marker = (match[3] or "").strip()
        if not marker or Marker(marker).evaluate():
            found[match[1]] = match[2]
    return found


def installed_versions(names: Iterable[str]) -> dict[str, str | None]:
    """Return the installed version of each distribution, None where there is none."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def differences(pins: Mapping[str, str], installed: Mapping[str, str | None]) -> list[str]:
    """Return a line for each library that is not as it was pinned.

    Examples
    --------
    >>> differences({"numpy": "2.4.0", "duckdb": "1.5.1"}, {"numpy": "2.3.0", "duckdb": "1.5.1"})
    ['numpy 2.3.0 (2.4.0)']
    """
    return [
        f"{name} {installed[name] or '–'} ({pinned})"
        for name, pinned in pins.items()
        if installed[name] != pinned
    ]


def unmet_requirements(distribution: str) -> list[str]:
    """Return a line for each library that `distribution` needs and that is missing or too old."""
    from packaging.requirements import Requirement

    lines = []
    for text in importlib.metadata.requires(distribution) or []:
        needed = Requirement(text)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        version = installed_versions([needed.name])[needed.name]
        if version is None or not needed.specifier.contains(version, prereleases=True):
            lines.append(f"{needed.name} {version or '–'} ({needed.specifier})")
    return lines
