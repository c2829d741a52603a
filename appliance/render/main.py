"""Render at boot: `python3 -m appliance.render.main --boot`, before any program that it configures.

Run by pennypost-apply.service as root. Makes what a first boot lacks (folders, claim code, root
and host certificate), then brings the stored settings into force. Programs are not running yet,
so nothing is told or probed. Settings that cannot be read do not keep the box from starting:
it comes up with the defaults (mail shut, pages on) and says so in the journal.
"""

import argparse
import logging
import sqlite3
import sys

from appliance.base.clock import Clock, SystemClock
from appliance.certs.keystore import Keystore
from appliance.render.apply import Applier, Wanted
from appliance.render.claim import ClaimFiles
from appliance.render.effects import Effects, Machine
from appliance.render.facts import Place, box_place
from appliance.render.folders import make_folders
from appliance.settings.schema import Settings
from appliance.settings.store import Store

_log = logging.getLogger("pennypost.apply")
WEB_GROUP = "pp-web"
TLS_GROUP = "pp-tls"
SIGNING_GROUP = "pp-relay"


def keystore_of(place: Place, clock: Clock) -> Keystore:
    if place.dev:
        return Keystore(place.keys, clock)
    return Keystore(place.keys, clock, tls_group=TLS_GROUP, signing_group=SIGNING_GROUP)


def claim_of(place: Place) -> ClaimFiles:
    return ClaimFiles(place.claim_folder, group=None if place.dev else WEB_GROUP)


def boot(place: Place, effects: Effects, clock: Clock) -> None:
    """Bring the stored settings into force on a box whose programs are not running."""
    make_folders(place)
    claim = claim_of(place)
    claim.ensure_code()
    revision, settings = _stored(place, clock)
    applier = Applier(place, keystore_of(place, clock), effects, clock)
    wanted = Wanted(settings=settings, revision=revision, claimed=claim.is_claimed())
    applier.apply(wanted, commit=lambda: None, progress=_log_step, live=False)


def _stored(place: Place, clock: Clock) -> tuple[int, Settings]:
    try:
        return Store(place.settings_database, clock).current()
    except (sqlite3.Error, ValueError):
        _log.exception("the stored settings cannot be read; starting with the defaults, mail shut")
        return 0, Settings()


def _log_step(step: object) -> None:
    _log.debug("%s", step)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pennypost-apply", description=__doc__)
    parser.add_argument("--boot", action="store_true", required=True, help="render at boot")
    parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    place = box_place()
    boot(place, Machine(place.run), SystemClock())
    _log.info("configuration is in %s", place.run / "rendered")
    return 0


if __name__ == "__main__":
    sys.exit(main())
