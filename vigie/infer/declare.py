"""From one file to a declaration that holds."""

from __future__ import annotations

import tempfile
from pathlib import Path

from vigie.dataset.declaration import parse_dataset
from vigie.infer.decide import Ask, Decisions, Wishes, decide
from vigie.infer.profile import profile_file
from vigie.infer.sniff import sniff
from vigie.infer.suspects import SUSPECT_AUC, single_aucs
from vigie.infer.write import table_name, write_declaration

__all__ = ["Decisions", "Wishes", "declare_file", "stem_of"]

_SUFFIXES = (".csv.gz", ".csv", ".tsv", ".tab", ".txt", ".data", ".dat", ".gz")


def declare_file(
    file: Path, wishes: Wishes, *, ask: Ask, header: bool | None = None
) -> tuple[Decisions, str]:
    """Return what was decided about `file`, and the declaration's text.

    Parameters
    ----------
    ask
        See ``decide``.
    header
        Whether the first line is one, where the user says so.

    Raises
    ------
    DataError
        When the file can't be read.
    UsageError
        When there is no telling what is to be predicted, or a column is named that isn't there.
    """
    with tempfile.TemporaryDirectory(prefix="vigie-init-") as scratch:
        profile = profile_file(file, sniff(file, header=header), Path(scratch))
        made = decide(profile, wishes, ask)
        assert made.outcome is not None
        if made.outcome.values:
            bad = set(made.outcome.values)
            aucs = single_aucs(profile, made.features, made.outcome.column, bad)
            made.suspects = {
                made.name(column): aucs[column.name]
                for column in made.features
                if aucs.get(column.name, 0) >= SUSPECT_AUC
            }
    stem = stem_of(file)
    text = write_declaration(made, table=table_name(stem), stem=stem, title=file.name)
    # A declaration that vigie itself can't read must not be written.
    parse_dataset(text, "dataset.toml")
    return made, text


def stem_of(file: Path) -> str:
    """Return the file's name without what says how it is written."""
    for suffix in _SUFFIXES:
        if file.name.lower().endswith(suffix):
            return file.name[: -len(suffix)]
    return file.name
