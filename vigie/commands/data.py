"""``vigie sample`` and ``vigie fetch``: where data come from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vigie.commands.options import Flag, Language, Names, Project, find_root
from vigie.errors import ExitCode, UsageError
from vigie.i18n import _
from vigie.spark.files import is_url

if TYPE_CHECKING:
    from vigie.pipeline.console import Console

# Person numbers end there: 10 billion click rows.
LARGEST_SCALE = 1000


def sample(
    *,
    dataset: str = "oulad",
    enrolments: int | None = None,
    scale: float | None = None,
    customers: int = 3_000,
    seed: int = 42,
    gzip: Flag = False,
    out: Path | None = None,
    project: Project = None,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Generate OULAD-shaped data that behaves like the real one, or a shop's.

    Parameters
    ----------
    dataset
        oulad, or shop: customers, orders and returns, with a cut-off at each month's end.
    enrolments
        oulad: how many enrolments (default: 32593, the size of the real release).
    scale
        oulad: the same in sizes of the real release: 10 makes ten times as many, 0.1 a tenth.
    customers
        shop: how many of them.
    seed
        The same seed and size give the same bytes.
    gzip
        oulad: write .csv.gz, an eighth of the size.
    out
        Folder to write to (default: data/generated of the project).
    project
        Folder of the project.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.dataset.sample import generate_sample
    from vigie.pipeline.console import Console

    root = find_root(project, lang)
    target = out or root / "data" / "generated"
    console = Console("dev")
    if dataset == "shop":
        if gzip:
            raise UsageError(
                _("The shop's files are never packed."),
                where="--gzip",
                fix=_("Leave it out: they are small."),
            )
        return _sample_shop(console, target, customers=customers, seed=seed)
    if dataset != "oulad":
        raise UsageError(
            _("There is no data set {name!r} to generate.").format(name=dataset),
            where="--dataset",
            fix=_("There are: {names}.").format(names="oulad shop"),
        )
    size = _size(enrolments, scale)
    with console.progress(_("generating"), 1.0) as bar:
        report = generate_sample(
            target, enrolments=size, seed=seed, packed=gzip, progress=bar.advance_to
        )
    for table, rows in report.row_counts.items():
        console.line(f"   {table:<22} {rows:>12,}")
    console.line(
        _("{enrolments:,} enrolments generated into {folder} in {seconds:.1f}s").format(
            enrolments=report.enrolments, folder=report.out, seconds=report.seconds
        )
    )
    return ExitCode.OK


def _size(enrolments: int | None, scale: float | None) -> int:
    """Return how many enrolments are asked for, by one of the two ways to say it."""
    from vigie.dataset.sample import FULL_SIZE

    if scale is None:
        return FULL_SIZE if enrolments is None else enrolments
    if enrolments is not None:
        raise UsageError(
            _("--enrolments and --scale both say how many."),
            where="--scale",
            fix=_("Give one of them."),
        )
    if not 0 < scale <= LARGEST_SCALE:
        raise UsageError(
            _("A scale of {scale:g} is not to be had.").format(scale=scale),
            where="--scale",
            fix=_("Give a number above 0, {largest} at the most.").format(largest=LARGEST_SCALE),
        )
    return round(FULL_SIZE * scale)


def _sample_shop(console: Console, target: Path, *, customers: int, seed: int) -> int:
    from vigie.dataset.sample_shop import generate_shop

    report = generate_shop(target, customers=customers, seed=seed)
    for table, rows in report.row_counts.items():
        console.line(f"   {table:<22} {rows:>12,}")
    return ExitCode.OK


def fetch(
    dataset: str,
    *,
    project: Project = None,
    url: Names = None,
    lang: Language = None,
    debug: Flag = False,  # read from the command line by main
) -> int:
    """Download a public data set into data/raw/ (there is one: oulad).

    A broken-off download goes on where it stopped when the same command is run again.

    Parameters
    ----------
    dataset
        Its name: oulad.
    project
        Folder of the project.
    url
        Other addresses to try, a mirror for instance, in this order.
    lang
        en or fr.
    debug
        Show the traceback of an error.
    """
    from vigie.data.fetch import OULAD_URLS, fetch_oulad
    from vigie.pipeline.console import Console
    from vigie.settings import load_settings

    root = find_root(project, lang)
    if dataset != "oulad":
        raise UsageError(
            _("There is no data set {name!r} to download.").format(name=dataset),
            fix=_("There is: oulad."),
        )
    raw_dir = str(load_settings(root, environ=os.environ).get("raw_dir"))
    if is_url(raw_dir):
        raise UsageError(
            _("raw_dir is an address, and files can only be put into a folder of this machine."),
            where=f"raw_dir = {raw_dir!r}",
            fix=_("Write them to the storage yourself, or name a folder."),
        )
    folder = root / raw_dir
    console = Console("dev")
    with console.progress(_("downloading"), 1.0) as bar:
        report = fetch_oulad(
            folder,
            urls=tuple(url) if url else OULAD_URLS,
            progress=lambda done, total: bar.advance_to(done / total if total else 0.0),
        )
    if report.url:
        console.line(_("Downloaded and checked: {path}").format(path=report.path))
    else:
        console.line(_("Already there, and checked: {path}").format(path=report.path))
    for table, rows in report.row_counts.items():
        console.line(f"   {table:<22} {rows:>12,}")
    return ExitCode.OK
