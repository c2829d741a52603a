"""The disks daemon: watches the disks and keeps the mailboxes' one in use.

Runs as root in the machine's own mount name space, since what it mounts is for all. Only root
may speak to it, which is the steward; RUN/maildisk.json tells everybody else.
"""

import argparse
import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from appliance.base import sd
from appliance.base.clock import SystemClock
from appliance.base.control import Handler, Request, serve
from appliance.base.finding import Refused
from appliance.storage import volume
from appliance.storage.keeper import Keeper
from appliance.storage.plan import Kind, Wish
from hw import disks

DATA, RUN, POINT = Path("/data/pennypost"), Path("/run/pennypost"), Path("/srv/mail")
SOCKET_NAME = "disks.sock"
_log = logging.getLogger("pennypost.disks")


def handlers(keeper: Keeper) -> Mapping[str, Handler]:
    """The verbs. The steward has checked the arguments; they are checked for shape again."""

    def answer(do: Callable[[Request, dict[str, Any]], Any]) -> Handler:
        async def handle(request: Request) -> Any:
            loop = asyncio.get_running_loop()
            tell = request.progress

            def progress(step: Mapping[str, Any]) -> None:
                loop.call_soon_threadsafe(tell, step)

            quiet = Request(
                verb=request.verb, args=request.args, peer=request.peer, progress=progress
            )
            return await asyncio.shield(asyncio.to_thread(do, quiet, dict(request.args)))

        return handle

    return {
        "list": answer(lambda _, args: keeper.list(allow_usb=args.get("allow_usb") is True)),
        "plan": answer(
            lambda _, args: keeper.plan(wish_of(args), allow_usb=args.get("allow_usb") is True)
        ),
        "carry_out": answer(
            lambda request, args: keeper.carry_out(
                wish_of(args),
                request.progress,
                allow_usb=args.get("allow_usb") is True,
                wait=args.get("wait") is not False,
            )
        ),
        "status": answer(lambda _, args: keeper.status()),
        "cancel": answer(lambda _, args: keeper.cancel()),
        "test": answer(lambda _, args: keeper.test(_test_kind(args))),
    }


def wish_of(args: Mapping[str, Any]) -> Wish:
    """The wish in a request. Raises Refused."""
    try:
        kind = Kind(str(args.get("kind", "")))
    except ValueError as error:
        raise Refused.because("disk.wish", "There is no such wish.") from error
    texts = {name: args.get(name, "") for name in ("disk", "old", "typed")}
    if not all(isinstance(text, str) and len(text) <= 200 for text in texts.values()):
        raise Refused.because("disk.wish", "A disk is named by its identity.")
    return Wish(kind=kind, agreed=args.get("agreed") is True, **texts)


def _test_kind(args: Mapping[str, Any]) -> str:
    if args.get("kind") not in ("short", "long"):
        raise Refused.because("disk.test", "A test is short or long.")
    return str(args["kind"])


async def serve_until_told(keeper: Keeper, run: Path, *, watch: bool = True) -> None:
    """Answer and watch until SIGTERM. The disk stays mounted: systemd unmounts at the end."""
    ended, loop = threading.Event(), asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await asyncio.to_thread(keeper.tick)  # what is there is mounted before anybody is told
    server = await serve(handlers(keeper), path=run / SOCKET_NAME, mode=0o600, allowed_uids={0})
    threads = [threading.Thread(target=_health, args=(keeper, ended), daemon=True)]
    if watch:
        threads.append(threading.Thread(target=disks.watch, args=(keeper.tick, ended), daemon=True))
    for thread in threads:
        thread.start()
    sd.notify("READY=1")
    async with server:
        await stop.wait()
    ended.set()
    sd.notify("STOPPING=1")
    keeper.guard.close()


def _health(keeper: Keeper, ended: threading.Event) -> None:
    while not ended.wait(60.0):
        try:
            keeper.look_at_health()
        except Exception:
            _log.exception("asking the disks for their health failed")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pennypost-disks", description=__doc__)
    parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    keeper = Keeper(
        data=DATA,
        run=RUN,
        point=POINT,
        list_disks=lambda allow_usb: disks.list_disks(allow_usb=allow_usb),
        clock=SystemClock(),
    )
    volume.protect(POINT)
    asyncio.run(serve_until_told(keeper, RUN))
    return 0


if __name__ == "__main__":
    sys.exit(main())
