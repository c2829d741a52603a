"""`alias ...`: the table of aliases, and where their mail finally goes."""

import argparse
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from appliance.base.finding import Refused, Unreachable
from appliance.cli import settings as settings_verbs
from appliance.cli.context import Context, table, text_of
from appliance.settings import alias_table, schema
from appliance.settings.alias_table import SETTING
from appliance.settings.parse import Bad
from appliance.settings.rules_section import Alias


def list_(context: Context, args: argparse.Namespace) -> None:
    """All aliases, or those that hold a word."""
    word = args.search.lower()
    found = [alias for alias in _now(context)[1] if word in alias.to_text().lower()]
    context.show([schema.plain(alias) for alias in found], _as_table)


def add(context: Context, args: argparse.Namespace) -> None:
    """One more."""
    revision, aliases = _now(context)
    alias = _alias(args.alias, args.targets, args.comment or "")
    _save(context, revision, alias_table.put(aliases, alias), alias.alias)


def edit(context: Context, args: argparse.Namespace) -> None:
    """Other targets, another comment, another name."""
    revision, aliases = _now(context)
    old = alias_table.find(aliases, args.alias)
    alias = _alias(
        args.name or old.alias,
        args.targets or old.targets,
        old.comment if args.comment is None else args.comment,
    )
    _save(context, revision, alias_table.put(aliases, alias, instead_of=old.alias), alias.alias)


def remove(context: Context, args: argparse.Namespace) -> None:
    """Away with it; `settings undo` brings it back."""
    revision, aliases = _now(context)
    _save(context, revision, alias_table.without(aliases, args.alias))


def preview(context: Context, args: argparse.Namespace) -> None:
    """Where mail to an address finally goes, by the relay that runs."""
    context.show(context.relay("alias.preview", {"aliases": args.aliases}), _as_sentences)


def export(context: Context, args: argparse.Namespace) -> None:
    """The table as CSV."""
    text = alias_table.to_csv(_now(context)[1])
    if args.file is None:
        sys.stdout.write(text.replace("\r\n", "\n"))
    else:
        args.file.write_bytes(text.encode())


def import_(context: Context, args: argparse.Namespace) -> None:
    """Aliases from a CSV file or `-`; those of the same name are replaced."""
    found = alias_table.from_csv(text_of(args.file))
    revision, aliases = _now(context)
    _save(context, revision, found if args.replace else alias_table.merged(aliases, found))


def _now(context: Context) -> tuple[int, tuple[Alias, ...]]:
    shown = settings_verbs.shown(context)
    return shown["revision"], schema.parse_value(SETTING, shown["settings"].get(SETTING, []))


def _alias(name: str, targets: Iterable[str], comment: str) -> Alias:
    try:
        return Alias.from_json({"alias": name, "targets": " ".join(targets), "comment": comment})
    except Bad as error:
        raise Refused.because(f"settings.{SETTING}", error.say, error.fix) from error


def _save(context: Context, revision: int, aliases: Iterable[Alias], changed: str = "") -> None:
    """Through the steward when it runs; then say where mail goes now."""
    value = [schema.plain(alias) for alias in aliases]
    done: dict[str, Any] = dict(
        settings_verbs.put(context, {SETTING: value}, base_revision=revision)
    )
    if changed:
        try:
            done["preview"] = context.relay("alias.preview", {"aliases": [changed]})
        except Unreachable:
            context.note("The relay does not run, so it cannot say where mail goes now.")
    context.show(done, _as_saved)


def _as_table(aliases: list[Mapping[str, Any]]) -> str:
    rows = [(a["alias"], ", ".join(a["targets"]), a["comment"]) for a in aliases]
    return table(rows, ("alias", "targets", "comment")) if rows else "There are no aliases."


def _as_sentences(previews: list[Mapping[str, Any]]) -> str:
    return "\n".join(
        sentence["text"] if sentence["result"] == "ok" else f"Look: {sentence['text']}"
        for found in previews
        for sentence in found["sentences"]
    )


def _as_saved(done: Mapping[str, Any]) -> str:
    saved = f"Saved (number {done['revision']} in the history)."
    if not done["changed"]:
        saved = "Nothing to change."
    return "\n".join(filter(None, (saved, _as_sentences(done.get("preview", [])))))
