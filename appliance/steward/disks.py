"""`disk.*`: the disks, by the disks daemon. The steward checks who asks and for what.

Work on a disk takes long; `wait` false comes back when it has begun, and RUN/maildisk.json tells
how far it is.
"""

import re
from collections.abc import Mapping
from typing import Any

from appliance.base import control
from appliance.render.apply import Progress
from appliance.render.facts import Place
from appliance.settings.store import Store
from appliance.steward.action import Action, Who
from appliance.steward.arguments import Argument, boolean, short_text

SOCKET_NAME = "disks.sock"
LIST_SECONDS = 120.0  # each disk may take its time to answer
WORK_SECONDS = 60.0  # between two signs of life
_IDENTITY = re.compile(r"(wwn-0x[0-9a-f]{8,32}|serial-[A-Za-z0-9_.-]{1,140})")
KINDS = ("connect", "take", "detach", "replace", "mirror", "grow")


def identity(raw: Any) -> str:
    """A disk's identity, as `disk.list` tells it."""
    if not isinstance(raw, str) or not _IDENTITY.fullmatch(raw):
        raise ValueError("the identity of a disk, such as wwn-0x5000c500a1b2c3d0")
    return raw


def kind(raw: Any) -> str:
    if raw not in KINDS:
        raise ValueError(f"one of {', '.join(KINDS)}")
    return str(raw)


class DiskActions:
    """The actions, each handed on with what the settings say."""

    def __init__(self, place: Place, store: Store) -> None:
        self._socket = place.run / SOCKET_NAME
        self._store = store

    def table(self) -> Mapping[str, Action]:
        """The verbs."""
        disk = {"disk": Argument(identity)}
        maybe = {"disk": Argument(identity, default="", optional=True)}
        old = {"old": Argument(identity, default="", optional=True)}
        typed = {"typed": Argument(short_text(100), default="", optional=True)}
        agreed = {"agreed": Argument(boolean, default=False, optional=True)}
        wait = {"wait": Argument(boolean, default=True, optional=True)}
        wish = {"kind": Argument(kind)} | maybe | old | typed | agreed
        return {
            "disk.list": Action(do=self.list),
            "disk.status": Action(do=self.status),
            "disk.plan": Action(do=self.plan, arguments=wish),
            "disk.connect": self._work("connect", disk | typed | wait),
            "disk.take": self._work("take", disk | agreed | wait),
            "disk.detach": self._work("detach", wait),
            "disk.replace": self._work("replace", disk | old | typed | wait),
            "disk.mirror": self._work("mirror", disk | typed | wait),
            "disk.grow": self._work("grow", wait),
            "disk.cancel": Action(do=self.cancel, changes=True),
        }

    def list(self, progress: Progress, who: Who) -> Any:
        """Every disk of the box, and why it may or may not be used."""
        return self._ask("list", {"allow_usb": self._allow_usb()}, LIST_SECONDS)

    def status(self, progress: Progress, who: Who) -> Any:
        """The mailbox disk, and the work on it."""
        return self._ask("status", {}, WORK_SECONDS)

    def plan(self, progress: Progress, who: Who, **wish: Any) -> Any:
        """The steps that a wish would take, or why not."""
        return self._ask("plan", {**wish, "allow_usb": self._allow_usb()}, LIST_SECONDS)

    def cancel(self, progress: Progress, who: Who) -> Any:
        """Call a copy off, or forget work that waits for a disk that is not there."""
        return self._ask("cancel", {}, WORK_SECONDS)

    def _work(self, kind: str, arguments: Mapping[str, Argument]) -> Action:
        def do(progress: Progress, who: Who, **wish: Any) -> Any:
            asked = {"kind": kind, **wish, "allow_usb": self._allow_usb()}
            return self._ask("carry_out", asked, LIST_SECONDS, progress)

        return Action(do=do, arguments=arguments, changes=True)

    def _ask(
        self,
        verb: str,
        args: Mapping[str, Any],
        seconds: float,
        progress: Progress | None = None,
    ) -> Any:
        return control.call(self._socket, verb, args, timeout_seconds=seconds, on_progress=progress)

    def _allow_usb(self) -> bool:
        return self._store.current()[1].disks.allow_usb
