"""The mail log: one line an event, `key=value`, the queue id first.

Values from outside are written so that nobody can forge a line or a field: whatever is not
plain printable ASCII, and spaces and quotes, become JSON text in quotes, in which an equals sign
is written `\\u003d`: a search for `event=delivered` finds events, not words.

    id=0F3G6K2M9QX2B event=queued from=<a@example.com> to=<b@example.org> size=2048 client=192.0.2.7

Lines go out in one write a turn of the loop. What strangers can cause at will is written so often
a minute and then counted: a flood ends in one line a minute,

    id=- event=and-more of=refused check=connections count=31207

The ledger has each refusal of a sender or recipient all the same.
"""

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

_PLAIN = re.compile(r"[!#-<>-\[\]-~]+\Z")  # no space, quote, backslash or equals sign
CAUSED_BY_STRANGERS = frozenset({"refused", "timed-out", "discarded", "sign-in-refused"})
LINES_A_MINUTE = 300  # of each of these events and checks
MINUTE_SECONDS = 60
Value = str | int | float | bool | None


def line(queue_id: str, event: str, **fields: Value) -> str:
    """One event. Empty values are left out; `from_` is written `from`."""
    parts = [f"id={encode(queue_id)}" if queue_id else "id=-", f"event={encode(event)}"]
    parts += [
        f"{key.rstrip('_')}={encode(value)}"
        for key, value in fields.items()
        if value is not None and value != ""
    ]
    return " ".join(parts)


def encode(value: Value) -> str:
    """A value in one word."""
    text = str(value)
    return text if _PLAIN.match(text) else json.dumps(text[:1000]).replace("=", "\\u003d")


class MailLog:
    """Writes events to standard output (the journal) and, in development, to a file."""

    def __init__(self, path: Path | None = None, *, echo: bool = True) -> None:
        self._file = path.open("a", buffering=1) if path is not None else None
        self._echo = echo
        self._waiting: list[str] = []
        self._this_minute: Counter[tuple[str, str]] = Counter()
        self._summing_up: asyncio.TimerHandle | None = None
        self.listeners: list[Callable[[str], None]] = []

    def event(self, queue_id: str, event: str, **fields: Value) -> None:
        """Note an event; it is written before the loop's next turn ends."""
        written = line(queue_id, event, **fields)
        for listener in self.listeners:
            listener(written)
        if event in CAUSED_BY_STRANGERS and self._is_too_much(event, str(fields.get("check", ""))):
            return
        self._write(written)

    def _is_too_much(self, event: str, check: str) -> bool:
        if self._summing_up is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:  # no loop: at start and end
                return False
            self._summing_up = loop.call_later(MINUTE_SECONDS, self._sum_up)
        self._this_minute[event, check] += 1
        return self._this_minute[event, check] > LINES_A_MINUTE

    def _sum_up(self) -> None:
        """The minute is over: say what was not written."""
        if self._summing_up is not None:
            self._summing_up.cancel()
        self._summing_up = None
        for (event, check), count in self._this_minute.items():
            if count > LINES_A_MINUTE:
                more = count - LINES_A_MINUTE
                self._write(line("", "and-more", of=event, check=check, count=more))
        self._this_minute.clear()

    def _write(self, written: str) -> None:
        if not self._waiting:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:  # no loop: at start and end
                self._waiting.append(written)
                self.flush()
                return
        self._waiting.append(written)

    def flush(self) -> None:
        """Write what waits. A log that cannot be written must not stop the mail."""
        text = "\n".join([*self._waiting, ""])
        self._waiting.clear()
        for target in (sys.stdout if self._echo else None, self._file):
            if target is None:
                continue
            try:
                target.write(text)
                target.flush()
            except (OSError, ValueError):
                continue

    def close(self) -> None:
        """Write what waits and close."""
        self._sum_up()
        if self._waiting:
            self.flush()
        if self._file is not None:
            self._file.close()
