"""The steward daemon.

On a box it is started by systemd when somebody connects to its socket, runs as root, and ends
after some idle minutes. In a checkout (`--dev`) it is an ordinary process of the caller and
runs all the time. Only root and the web's user are answered; the kernel says who calls.
"""

import argparse
import asyncio
import json
import logging
import os
import pwd
import signal
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from appliance.base import sd
from appliance.base.clock import SystemClock
from appliance.base.control import Handler, Request, serve
from appliance.base.finding import PennypostError, Refused
from appliance.render.apply import Applier
from appliance.render.effects import Machine
from appliance.render.facts import Place, Ports, box_place
from appliance.render.folders import make_folders
from appliance.render.main import WEB_GROUP, boot, claim_of, keystore_of
from appliance.settings.store import Store
from appliance.steward.action import Action, Who
from appliance.steward.actions import Steward
from appliance.steward.arguments import read, refuse

IDLE_SECONDS = 300
WEB_USER, PANEL_USER = "pp-web", "pp-panel"
_log = logging.getLogger("pennypost.steward")


class Desk:
    """Takes requests: who asks, may they, are the arguments right; then has it done."""

    def __init__(
        self,
        table: Mapping[str, Action],
        *,
        root_uids: Collection[int],
        panel_uids: Collection[int] = (),
    ) -> None:
        self._table = table
        self._root_uids = frozenset(root_uids)
        self._panel_uids = frozenset(panel_uids)
        self._busy = 0
        self.last_request = SystemClock().monotonic()

    def handlers(self) -> Mapping[str, Handler]:
        return dict.fromkeys(self._table, self.handle)

    def is_idle(self, now: float, seconds: float) -> bool:
        return self._busy == 0 and now - self.last_request > seconds

    async def handle(self, request: Request) -> Any:
        """Answer one request. The work is done in a thread, progress comes back to the loop."""
        action = self._table[request.verb]
        who = self._who(request.peer.uid)
        if who not in action.who:
            raise refuse("who", f"{request.verb} is not for user {request.peer.uid}.")
        arguments = read(action.arguments, request.args)
        loop = asyncio.get_running_loop()

        def progress(step: Mapping[str, Any]) -> None:
            loop.call_soon_threadsafe(request.progress, step)

        self._busy += 1
        try:
            # Shielded: a caller that hangs up must not leave a change half done.
            return await asyncio.shield(
                asyncio.to_thread(lambda: action.do(progress, who, **arguments))
            )
        except PennypostError as error:
            _log.warning("%s for user %d: %s", request.verb, request.peer.uid, error.finding.say)
            raise
        finally:
            self._busy -= 1
            self.last_request = SystemClock().monotonic()
            if action.changes:
                _log.info("%s for user %d has ended", request.verb, request.peer.uid)

    def _who(self, uid: int) -> Who:
        if uid in self._root_uids:
            return Who.ROOT
        return Who.PANEL if uid in self._panel_uids else Who.WEB


def assemble(place: Place) -> Steward:
    """The steward of the box at `place`, with everything real."""
    clock = SystemClock()
    return Steward(
        place,
        store=Store(place.settings_database, clock),
        applier=Applier(place, keystore_of(place, clock), Machine(place.run), clock),
        claim=claim_of(place),
        clock=clock,
        press_group=None if place.dev else WEB_GROUP,
    )


def prepare_checkout(place: Place, settings_file: Path | None) -> None:
    """What a boot does on a box; a settings file is imported and makes the box claimed.

    The daemons are not running yet, so the settings are stored and then rendered.
    """
    make_folders(place)
    if settings_file is not None:
        store = Store(place.settings_database, SystemClock())
        store.commit(store.planned_replacement(_read_json(settings_file)), author="scripts/dev")
        claim_of(place).close()
    boot(place, Machine(place.run), SystemClock())


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Refused.because("settings.file", f"{path} cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise Refused.because("settings.file", f"{path} does not hold a JSON object.")
    return raw


async def run_desk(place: Place, steward: Steward, *, idle_seconds: float | None) -> None:
    """Answer until told to end, or idle for so long."""
    own = os.geteuid()
    panel = set() if place.dev else {pwd.getpwnam(PANEL_USER).pw_uid}
    web = set() if place.dev else {pwd.getpwnam(WEB_USER).pw_uid}
    desk = Desk(steward.table(), root_uids={own}, panel_uids=panel)
    allowed = {own} | web | panel
    sockets = [sock for group in sd.listen_fds().values() for sock in group]
    if sockets:
        server = await serve(desk.handlers(), sock=sockets[0], allowed_uids=allowed)
    else:
        server = await serve(
            desk.handlers(), path=place.run / "steward.sock", mode=0o600, allowed_uids=allowed
        )
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    sd.notify("READY=1")
    async with server:
        await _until(ended, desk, idle_seconds)
    sd.notify("STOPPING=1")


async def _until(ended: asyncio.Event, desk: Desk, idle_seconds: float | None) -> None:
    while not ended.is_set():
        try:
            await asyncio.wait_for(ended.wait(), min(30, idle_seconds) if idle_seconds else None)
        except TimeoutError:
            if idle_seconds and desk.is_idle(SystemClock().monotonic(), idle_seconds):
                return


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pennypost-steward", description=__doc__)
    parser.add_argument("--apply", action="store_true", help="only render, as at boot, and end")
    parser.add_argument("--dev", action="store_true", help="a checkout: no root, no systemd")
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--run", type=Path, metavar="DIR")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="import before the start")
    parser.add_argument("--resolver", default="", metavar="ADDRESS:PORT")
    for name, port in (("smtp", 2525), ("submission", 5870), ("submissions", 4650), ("web", 8080)):
        parser.add_argument(f"--{name}", type=int, default=port, metavar="PORT")
    return parser


def _place_of(args: argparse.Namespace) -> Place:
    if not args.dev:
        return box_place()
    ports = Ports(
        smtp=args.smtp, submission=args.submission, submissions=args.submissions, web=args.web
    )
    data = args.data.resolve()
    return Place(
        data=data,
        run=(args.run or data / "run").resolve(),
        dev=True,
        resolver=args.resolver,
        ports=ports,
    )


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    place = _place_of(args)
    if args.apply:
        boot(place, Machine(place.run), SystemClock())
        assemble(place).accounts.recover()
        return 0
    steward = assemble(place)
    try:
        if place.dev:
            prepare_checkout(place, args.settings)
            steward.accounts.recover()
        else:
            steward.recover(lambda step: _log.info("%(step)s: %(state)s", step))
    except PennypostError as error:
        finding = error.finding
        print(" ".join(filter(None, (finding.say, finding.means, finding.fix))), file=sys.stderr)
        if place.dev:
            return 1  # on a box the desk still opens: it is how the settings get repaired
    asyncio.run(run_desk(place, steward, idle_seconds=None if place.dev else IDLE_SECONDS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
