"""`settings ...`: by the steward when it runs; else straight in the store, and it says so.

A value on the command line is JSON if it reads as JSON, else text; a list may be given as its
entries parted by commas or line breaks.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.base.clock import SystemClock
from appliance.base.finding import Refused
from appliance.cli.context import Context, table
from appliance.policy import alias_preview
from appliance.settings import schema
from appliance.settings.store import Store

OFFLINE = "Nothing runs here; the settings were changed on disk and take force at the next start."


def show(context: Context, args: argparse.Namespace) -> None:
    """All settings."""
    context.show(shown(context)["settings"], _as_lines)


def get(context: Context, args: argparse.Namespace) -> None:
    """One setting."""
    values = shown(context)["settings"]
    if args.name not in values:
        schema.parse_value(args.name, None)  # refuses by the name, or by the kept secret
        raise Refused.because(f"settings.{args.name}", f"{args.name} is kept secret.")
    context.show(values[args.name], _as_text)


def set_(context: Context, args: argparse.Namespace) -> None:
    """Change settings: NAME=VALUE ..., or NAME VALUE."""
    change(context, _changes(args.changes))


def change(context: Context, changes: Mapping[str, Any]) -> None:
    """Change settings and say what was changed."""
    context.show(put(context, changes), _as_done)


def put(
    context: Context, changes: Mapping[str, Any], *, base_revision: int | None = None
) -> Mapping[str, Any]:
    """Put changes into force, or into the store when nothing runs here."""
    if context.steward_runs():
        order: dict[str, Any] = {"changes": changes, "author": context.author}
        if base_revision is not None:
            order["base_revision"] = base_revision
        done: Mapping[str, Any] = context.steward("settings.change", order)
        _own_a_checkout(context)
        return done
    store = _store(context)
    planned = store.planned(changes)
    alias_preview.refuse_boundless(planned)
    revision, changed = store.commit(planned, author=context.author)
    context.note(OFFLINE)
    return {"revision": revision, "changed": list(changed)}


def export(context: Context, args: argparse.Namespace) -> None:
    """All settings with their secrets, as `settings import` takes them."""
    secrets = not args.without_secrets
    if context.steward_runs():
        settings = context.steward("settings.export", {"secrets": secrets})
    else:
        settings = schema.to_json(_store(context).current()[1], secrets=secrets)
    text = json.dumps(settings, ensure_ascii=False, indent=2)
    if args.file is None:
        print(text)
        return
    args.file.touch(mode=0o600)
    args.file.write_text(text + "\n")


def import_(context: Context, args: argparse.Namespace) -> None:
    """Settings from a JSON file or `-`; with --merge what it does not name stays."""
    raw = schema.flatten(_read(args.file))
    if context.steward_runs():
        done = _import_running(context, raw, merge=args.merge)
        _own_a_checkout(context)
    else:
        store = _store(context)
        planned = store.planned(raw) if args.merge else store.planned_replacement(raw)
        revision, changed = store.commit(planned, author=context.author)
        context.note(OFFLINE)
        done = {"revision": revision, "changed": list(changed)}
    context.show(done, _as_done)


def _import_running(context: Context, raw: Mapping[str, Any], *, merge: bool) -> Any:
    if merge:
        return context.steward("settings.change", {"changes": raw, "author": context.author})
    return context.steward("settings.replace", {"settings": raw, "author": context.author})


def _own_a_checkout(context: Context) -> None:
    """Whoever switches mail on in a checkout from its command line owns it: no wizard is needed.

    On a box the wizard alone decides that.
    """
    facts = context.steward("facts.show")
    if facts["dev"] and not facts["claimed"]:
        values = context.steward("settings.show")["settings"]
        if values["mail.enabled"]:
            context.steward("claim.close")
            context.note("Mail is on, so this checkout counts as set up.")


def history(context: Context, args: argparse.Namespace) -> None:
    """Who changed what, newest first."""
    if context.steward_runs():
        changes = context.steward("settings.history", {"limit": args.limit})
    else:
        changes = [change.to_json() for change in _store(context).history(args.limit)]
    context.show(changes, _as_history)


def undo(context: Context, args: argparse.Namespace) -> None:
    """Take one change back."""
    if context.steward_runs():
        order = {"revision": args.revision, "author": context.author}
        done = context.steward("settings.undo", order)
    else:
        store = _store(context)
        planned = store.planned_undo(args.revision)
        revision, changed = store.commit(planned, author=context.author)
        context.note(OFFLINE)
        done = {"revision": revision, "changed": list(changed)}
    context.show(done, _as_done)


def describe(context: Context, args: argparse.Namespace) -> None:
    """The description of every setting."""
    described = [field.describe() for field in schema.fields()]
    context.show(described, _as_description)


def current(context: Context) -> Mapping[str, Any]:
    """All settings that may be shown, by name."""
    found: Mapping[str, Any] = shown(context)["settings"]
    return found


def shown(context: Context) -> Mapping[str, Any]:
    """Revision and settings, from the steward or from the store."""
    if context.steward_runs():
        answer: Mapping[str, Any] = context.steward("settings.show")
        return answer
    revision, settings = _store(context).current()
    return {"revision": revision, "settings": schema.to_json(settings)}


def _store(context: Context) -> Store:
    path = context.data / "settings" / "settings.db"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused.because("settings.store", f"{path.parent}: {error.strerror}.") from error
    return Store(path, SystemClock())


def _changes(words: list[str]) -> dict[str, Any]:
    """`NAME VALUE` or any number of `NAME=VALUE`."""
    if len(words) == 2 and "=" not in words[0]:
        words = ["=".join(words)]
    changes = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Refused.because("settings", f"{word!r} has no value.", "Write NAME=VALUE.")
        changes[name] = _value(name, value)
    return changes


def _value(name: str, text: str) -> Any:
    field = schema.by_name().get(name)
    if field is not None and field.kind in ("text", "choice"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        pass
    if field is not None and field.kind == "list":
        return [part.strip() for part in text.replace("\n", ",").split(",") if part.strip()]
    return text


def _read(path: Path) -> Any:
    try:
        return json.loads(sys.stdin.read() if str(path) == "-" else path.read_text())
    except (OSError, ValueError) as error:
        raise Refused.because("settings.file", f"{path} cannot be read: {error}.") from error


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _as_lines(settings: Mapping[str, Any]) -> str:
    return "\n".join(f"{name} = {_as_text(value)}" for name, value in settings.items())


def _as_done(done: Mapping[str, Any]) -> str:
    if not done["changed"]:
        return "Nothing to change."
    return f"Changed: {', '.join(done['changed'])} (number {done['revision']} in the history)."


def _as_history(changes: list[Mapping[str, Any]]) -> str:
    rows = [
        (change["revision"], change["at"][:19], change["author"], f"{name}: {old!r} → {new!r}")
        for change in changes
        for name, (old, new) in change["changes"].items()
    ]
    return table(rows, ("number", "at (UTC)", "by", "what"))


def _as_description(fields: list[Mapping[str, Any]]) -> str:
    rows = [
        (f["name"], f["type"], f["unit"] or "-", _as_text(f["default"]), f["help"]) for f in fields
    ]
    return table(rows, ("name", "type", "unit", "default", "help"))
