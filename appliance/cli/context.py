"""What every verb is handed: where the box is, how to reach its daemons, how to print."""

import getpass
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.base import control
from appliance.base.finding import Finding, Refused, Unreachable

APPLY_TIMEOUT_SECONDS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One call of the command line."""

    data: Path
    run: Path
    json: bool
    author: str

    def steward(self, verb: str, args: Mapping[str, Any] | None = None) -> Any:
        """Ask the steward; its steps are shown to a person who waits."""
        return control.call(
            self.run / "steward.sock",
            verb,
            args,
            timeout_seconds=APPLY_TIMEOUT_SECONDS,
            on_progress=self._show_step,
        )

    def relay(self, verb: str, args: Mapping[str, Any] | None = None) -> Any:
        return control.call(self.run / "relay.sock", verb, args, timeout_seconds=60)

    def steward_runs(self) -> bool:
        """Whether anybody is behind the steward's socket (systemd counts)."""
        try:
            control.call(self.run / "steward.sock", "claim.status", timeout_seconds=30)
        except Unreachable:
            return False
        return True

    def show(self, result: Any, as_text: Callable[[Any], str]) -> None:
        """The result on standard output, as JSON or as text for people."""
        if self.json:
            print(json.dumps(result, ensure_ascii=False, indent=2, sort_keys=False))
        else:
            print(as_text(result))

    def note(self, text: str) -> None:
        """A remark beside the result."""
        print(text, file=sys.stderr)

    def _show_step(self, step: Mapping[str, Any]) -> None:
        if not self.json and sys.stderr.isatty() and step.get("state") != "running":
            self.note(f"  {step.get('step')}: {step.get('state')} ({step.get('seconds')} s)")


def read_password() -> str:
    """From the terminal without showing it, else the first line of standard input."""
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\r\n")


def text_of(path: Path) -> str:
    """The text of a file, or of standard input for `-`."""
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise Refused.because("file", f"{path} cannot be read: {error}.") from error


def show_finding(finding: Finding, *, as_json: bool) -> None:
    """A refusal: on standard output for programs, on standard error for people."""
    if as_json:
        print(json.dumps({"ok": False, "finding": finding.to_json()}, ensure_ascii=False, indent=2))
    else:
        print("\n".join(filter(None, (finding.say, finding.means, finding.fix))), file=sys.stderr)


def table(rows: Sequence[Sequence[Any]], heads: Sequence[str]) -> str:
    """Columns as wide as their content; the last one is left as it is."""
    lines = [[str(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads) - 1)]
    return "\n".join(
        "  ".join([*(c.ljust(w) for c, w in zip(line, widths, strict=False)), line[-1]]).rstrip()
        for line in lines
    )
