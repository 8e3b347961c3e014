"""Whether the raw files are all there, and are those that dev was tried with."""

from __future__ import annotations

from collections.abc import Iterator

from vigie.checks.context import CheckContext
from vigie.checks.estimate import shown_bytes, uncompressed_bytes
from vigie.checks.finding import Finding
from vigie.data.spark_raw import RemoteSource
from vigie.i18n import _, ngettext
from vigie.pipeline.ledger import Status
from vigie.verdict import Verdict

NAME = "raw"


def check_raw(context: CheckContext) -> Iterator[Finding]:
    """Find out whether every table has its raw file, and whether dev read the same ones."""
    source = context.raw.locate()
    if isinstance(source, RemoteSource):
        listed = [file for files in source.files.values() for file in files]
        size = shown_bytes(sum(file.bytes for file in listed))
        said = _("{count} files, {size}, in {folder}")
        shown = said.format(count=len(listed), size=size, folder=source.folder)
    else:
        files = {part.path for file in source.files.values() for part in file.parts}
        count = ngettext("{count} file", "{count} files", len(files)).format(count=len(files))
        shown = _("{count}, {size} of CSV, in {folder}").format(
            count=count,
            size=shown_bytes(uncompressed_bytes(source.files.values())),
            folder=context.raw.describe(),
        )
    if source.generated is not None:
        yield Finding(
            NAME,
            Verdict.WARN,
            _("{files}: they are generated, not real").format(files=shown),
            _("Put your own export there: {folder}").format(folder=context.raw.describe()),
        )
        return
    state = context.raw.state()
    tried = [
        one
        for one in context.ledger("dev").outcomes()
        if one.step == "extract" and one.status == Status.SUCCESS
    ]
    if not tried:
        # That dev never ran is for `dev` to say.
        yield Finding(NAME, Verdict.PASS, shown)
    elif any(one.fingerprint.inputs.get("raw") == state for one in tried):
        yield Finding(NAME, Verdict.PASS, _("{files}, unchanged since dev").format(files=shown))
    else:
        said = _("{files}: not those that dev was tried with").format(files=shown)
        yield Finding(NAME, Verdict.WARN, said, context.command("vigie run --mode dev"))
