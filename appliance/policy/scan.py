"""What a content scanner is told and what it answers; the client itself is in the relay."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRequest:
    """One message for the scanner.

    `blocks` gives all of it, header first, from the start at each call, and may raise OSError:
    it is read as it is sent, so that no large message is held in memory. `size` is the sum.
    """

    blocks: Callable[[], Iterable[bytes]]
    size: int
    client: str
    helo: str
    mail_from: str
    recipients: tuple[str, ...]
    queue_id: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """The answer. With `judged` false nobody judged, and `why` says why not."""

    judged: bool
    score: float = 0.0
    symbols: tuple[str, ...] = ()  # the rules that struck, the heaviest first
    viruses: tuple[str, ...] = ()  # names
    stopped_early: bool = False  # a test word (GTUBE) decided, and nothing else was looked at
    virus_scan_failed: bool = False
    why: str = ""


class Scanner(Protocol):
    """Never raises: what goes wrong is a result that is not `judged`."""

    async def scan(self, request: ScanRequest) -> ScanResult:
        """The scanner's judgement, within its time-out."""
        ...
