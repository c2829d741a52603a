"""Apply settings as one transaction.

    certificate   the pairs for the names of the box; new ones are made beside the live ones
    signing keys  a pair for each domain that has none; what is made stays, whatever comes
    render        everything, in memory
    write         a new folder beside the one in force
    verify        each program reads its own new file
    switch        one rename: the new folder is in force
    reload        each changed program
    probe         do they answer?
    commit        the one step that makes it last: the store (or the claim)

Until the commit the store holds the old settings, and /run is gone after a power cut: so a cut
at any moment leaves the old settings or the new ones. When a step fails, what was done is undone
(the link, then every program that was told) and the step's finding says why. A file beside the
link marks the time from switch to commit: who finds it at start applies the stored settings again.
"""

import contextlib
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.base.clock import Clock
from appliance.base.finding import Finding, PennypostError, Refused, Result
from appliance.certs import local_ca
from appliance.certs.dkim_keys import DkimKeys
from appliance.certs.keystore import HostPair, Keystore
from appliance.dns.advisor import is_private
from appliance.render.effects import Effects
from appliance.render.facts import (
    ALWAYS_NAMES,
    Facts,
    Place,
    addresses_for_certificate,
    gather,
    own_addresses,
)
from appliance.render.nftables import mail_is_on
from appliance.render.programs import Files, Program, table
from appliance.render.whole import render
from appliance.settings.schema import Settings

_log = logging.getLogger(__name__)
Progress = Callable[[Mapping[str, Any]], None]
KEPT_SETS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be in force: settings, the revision they will have, and whether claimed."""

    settings: Settings
    revision: int
    claimed: bool


class Applier:
    """Applies settings on the box at `place`. One transaction at a time: the caller's duty."""

    def __init__(self, place: Place, keystore: Keystore, effects: Effects, clock: Clock) -> None:
        self._place = place
        self._keystore = keystore
        self._effects = effects
        self._clock = clock
        self._link = place.run / "rendered"
        self._pending = place.run / "rendered.pending"

    def apply(
        self,
        wanted: Wanted,
        *,
        commit: Callable[[], None],
        progress: Progress,
        live: bool = True,
        refresh: bool = False,
    ) -> None:
        """Bring `wanted` into force, or leave everything as it was and raise PennypostError.

        `commit` makes it last and is called once, at the end. With `live` false (at boot) the
        programs are not running yet: nothing is checked, told or probed. With `refresh`
        certificates that lack an address of the box are made anew too.
        """
        step = _Steps(self._clock, progress)
        with step("certificate"):
            pairs = self._pairs_for(wanted.settings, refresh=refresh)
        with self._undoing(pairs) as undo:
            with step("signing keys"):
                self._keystore.dkim.ensure(signed_domains(wanted.settings))
            facts = self._facts(wanted.settings, pairs, claimed=wanted.claimed)
            with step("render"):
                files = render(wanted.settings, facts, revision=wanted.revision)
            with step("write"):
                undo.folder = folder = self._next_folder()
                self._effects.write_set(folder, files)
            old = read_set(undo.old_folder)
            changed = [p for p in table(dev=facts.dev) if live and p.concerns(old, files)]
            for program in changed:
                if program.can_check(files):
                    with step(f"verify {program.name}"):
                        self._effects.check(program.check_argv(folder))
            with step("switch"):
                self._pending.touch()
                undo.switched = True
                self._effects.point(self._link, folder)
            for program in changed:
                if actions := program.actions(old, files):
                    with step(f"reload {program.name}"):
                        undo.told.append((program, old, files))
                        for action in actions:
                            self._effects.do(action)
            if live:
                self._probe(wanted.settings, facts, changed, step)
            with step("commit"):
                commit()
        self._tidy(pairs)

    def is_unfinished(self) -> bool:
        """Whether a transaction was cut off between its switch and its commit."""
        return self._pending.exists() or not self._link.exists()

    def in_force(self) -> Files:
        """The files of the current set."""
        return read_set(self._link if self._link.exists() else None)

    def certificate_is_due(self, settings: Settings, *, refresh: bool) -> bool:
        """Whether applying (with `refresh`, see `apply`) would make a new certificate."""
        host, local = _subjects(settings, own_addresses() if refresh else ())
        return bool(self._keystore.host.why_due(host) or self._keystore.local.why_due(local))

    def facts(self, settings: Settings, *, claimed: bool) -> Facts:
        """The facts as they are in force."""
        return self._facts(settings, self._pairs_for(settings, refresh=False), claimed=claimed)

    def _pairs_for(self, settings: Settings, *, refresh: bool) -> "_Pairs":
        """The live pairs where they do, else new ones. Those get all that is known just now."""
        host, local = _subjects(settings, own_addresses())
        least_host, least_local = (host, local) if refresh else _subjects(settings, ())
        return _Pairs(
            host=self._keystore.host.pair_for(host, least=least_host),
            local=self._keystore.local.pair_for(local, least=least_local),
        )

    @property
    def dkim(self) -> DkimKeys:
        """The keys that mail is signed with."""
        return self._keystore.dkim

    def _facts(self, settings: Settings, pairs: "_Pairs", *, claimed: bool) -> Facts:
        root = self._keystore.public_root
        signed = signed_domains(settings) if settings.signing.enabled else ()
        keys = self._keystore.dkim.files(signed, ("current", "next"))
        return gather(self._place, pairs.host, pairs.local, root, claimed=claimed, dkim_keys=keys)

    def _probe(
        self, settings: Settings, facts: Facts, changed: list[Program], step: "_Steps"
    ) -> None:
        names = {program.name for program in changed}
        ports = facts.ports
        if "relay" in names and mail_is_on(settings, facts):
            with step("probe relay"):
                self._effects.probe_smtp(ports.smtp, tls=False)
                self._effects.probe_smtp(ports.submission, tls=False)
                self._effects.probe_smtp(ports.submissions, tls=True)
        if names & {"web", "nginx"}:
            with step("probe web"):
                self._effects.probe_web(ports.web, tls=not facts.dev)

    def _next_folder(self) -> Path:
        return self._place.run / f"rendered.{max(self._sets(), default=0) + 1}"

    def _sets(self) -> dict[int, Path]:
        paths = self._place.run.glob("rendered.*")
        return {
            int(number): path
            for path in paths
            if (number := path.name.removeprefix("rendered.")).isdecimal()
        }

    @contextlib.contextmanager
    def _undoing(self, pairs: "_Pairs") -> Iterator["_Undo"]:
        """Undo on any failure, also on one that we did not think of."""
        undo = _Undo(old_folder=self._link.resolve() if self._link.exists() else None)
        try:
            yield undo
        except BaseException as error:
            left_over = self._roll_back(undo)
            self._keystore.host.discard(pairs.host)
            self._keystore.local.discard(pairs.local)
            if isinstance(error, PennypostError):
                raise _with_note(error, left_over) from error
            if isinstance(error, OSError | sqlite3.Error):
                raise _with_note(_io_refusal(error), left_over) from error
            raise

    def _roll_back(self, undo: "_Undo") -> list[str]:
        """Back to the old set; what could not be told to go back is named."""
        failed = []
        try:
            if undo.switched:
                self._point_back(undo)
            if undo.folder is not None:
                shutil.rmtree(undo.folder, ignore_errors=True)
        except (PennypostError, OSError) as error:
            _log.error("the old configuration could not be put back: %s", error)
            failed.append("the configuration")
        for program, old, new in reversed(undo.told):
            try:
                for action in program.actions(new, old):
                    self._effects.do(action)
            except (PennypostError, OSError) as error:
                _log.warning("%s could not be told to go back: %s", program.name, error)
                failed.append(program.name)
        if not failed:  # else the next start applies the stored settings again
            self._pending.unlink(missing_ok=True)
        return failed

    def _point_back(self, undo: "_Undo") -> None:
        if undo.old_folder is not None:
            self._effects.point(self._link, undo.old_folder)
        else:
            self._link.unlink(missing_ok=True)

    def _tidy(self, pairs: "_Pairs") -> None:
        """After the commit. What fails here changes nothing that is in force."""
        with contextlib.suppress(OSError):
            self._keystore.host.make_live(pairs.host)
            self._keystore.local.make_live(pairs.local)
            self._pending.unlink(missing_ok=True)
            kept = self._link.resolve()
            sets = [path for _, path in sorted(self._sets().items()) if path.resolve() != kept]
            for path in sets[: -(KEPT_SETS - 1)]:
                shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The certificates that a set names: for the mail server's name, and for the local network."""

    host: HostPair
    local: HostPair


class _Undo:
    """What has been done so far."""

    def __init__(self, old_folder: Path | None) -> None:
        self.old_folder = old_folder
        self.folder: Path | None = None
        self.switched = False
        self.told: list[tuple[Program, Files, Files]] = []


class _Steps:
    """Reports each step when it begins and when it ends, with its seconds."""

    def __init__(self, clock: Clock, progress: Progress) -> None:
        self._clock = clock
        self._progress = progress

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        begin = self._clock.monotonic()
        self._report(name, "running", begin)
        try:
            yield
        except BaseException:
            self._report(name, "failed", begin)
            raise
        self._report(name, "done", begin)

    def _report(self, name: str, state: str, begin: float) -> None:
        seconds = round(self._clock.monotonic() - begin, 3)
        self._progress({"step": name, "state": state, "seconds": seconds})


def read_set(folder: Path | None) -> dict[str, bytes]:
    """The files of a set as `render` gave them; empty for no set."""
    if folder is None:
        return {}
    return {
        path.name: os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        for path in folder.iterdir()
    }


def signed_domains(settings: Settings) -> tuple[str, ...]:
    """The domains whose mail is signed: main and additional ones (D1) that can be in the DNS."""
    names = (settings.mail.main_domain, *settings.mail.additional_domains)
    return tuple(name for name in dict.fromkeys(names) if name and not is_private(name))


def _subjects(
    settings: Settings, addresses: tuple[str, ...]
) -> tuple[local_ca.Subject, local_ca.Subject]:
    """What the two certificates have to cover; in the first the mail server's name leads."""
    held = addresses_for_certificate(addresses)
    host = local_ca.covered((settings.mail.hostname, *ALWAYS_NAMES), held)
    return host, local_ca.covered(ALWAYS_NAMES, held)


def _io_refusal(error: Exception) -> PennypostError:
    return Refused.because(
        "apply",
        f"The box could not write: {error}.",
        "Look whether its storage is full or failing.",
    )


def _with_note(error: PennypostError, left_over: list[str]) -> PennypostError:
    """The error as it is, with what it means: the old settings go on."""
    means = "The settings were not changed; everything runs on as before."
    if left_over:
        means = (
            "The settings were not changed, but this could not be told: "
            + ", ".join(left_over)
            + ". It is tried again when the steward starts."
        )
    old = error.finding
    return PennypostError(
        Finding(
            check=old.check,
            result=Result.BAD,
            say=old.say,
            means=f"{old.means} {means}".strip(),
            fix=old.fix,
        )
    )
