"""Adds up the last lines of several runs of pytest: one line for the whole of `make test`.

summary.py SECONDS OUTPUT...        exit code 1 when a run left no summary, or failed tests
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)")
_LAST = re.compile(r"^=*\s*(\d+ \w+.*) in [\d.]+s\b.*$", re.MULTILINE)
_ORDER = ("failed", "passed", "skipped", "xfailed", "xpassed", "error")


def counted(output: str) -> Counter[str] | None:
    """What one run's summary says; None without one."""
    found = _LAST.findall(output)
    if not found:
        return None
    return Counter(
        {
            word.rstrip("s") if word == "errors" else word: int(n)
            for n, word in _COUNT.findall(found[-1])
        }
    )


def summed(outputs: Iterable[str], seconds: int) -> tuple[str, bool]:
    """The line, and whether all is well."""
    counts = [counted(output) for output in outputs]
    total = sum((count for count in counts if count is not None), Counter())
    words = ", ".join(f"{total[word]} {word}" for word in _ORDER if total[word])
    clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    whole = None not in counts
    missing = "" if whole else "a part ended without a summary, "
    well = whole and not total["failed"] and not total["error"]
    return f"==== {missing}{words or 'no tests'} in {seconds}.00s ({clock}) ====", well


def main(arguments: list[str]) -> int:
    """Entry point."""
    texts = [Path(name).read_text(errors="replace") for name in arguments[1:]]
    line, well = summed(texts, int(arguments[0]))
    print(line)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
