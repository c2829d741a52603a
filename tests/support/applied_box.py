"""A box in a temporary folder: everything real but the programs, which are written down."""

from collections.abc import Callable, Mapping
from pathlib import Path

from appliance.base.clock import FakeClock, SystemClock
from appliance.base.finding import Refused
from appliance.certs.keystore import Keystore
from appliance.certs.local_ca import Subject
from appliance.render.apply import Applier, Wanted
from appliance.render.claim import ClaimFiles
from appliance.render.effects import Machine
from appliance.render.facts import Facts, Place
from appliance.render.programs import Action
from appliance.settings.store import Store

MAIL = {
    "mail__enabled": True,
    "mail__hostname": "mail.example.com",
    "mail__main_domain": "example.com",
}
KEY = "ssh-ed25519 " + "A" * 68 + " anna"
Step = Callable[[str], None]


class Recorder(Machine):
    """Real files, no programs. `before` is called ahead of each effect and may raise."""

    def __init__(self, run: Path, before: Step = lambda name: None) -> None:
        super().__init__(run)
        self.before = before
        self.told: list[Action] = []
        self.checked: list[tuple[str, ...]] = []
        self.probed: list[int] = []

    def write_set(self, folder: Path, files: Mapping[str, bytes]) -> None:
        self.before("write")
        super().write_set(folder, files)

    def check(self, argv: tuple[str, ...]) -> None:
        self.before(f"check {argv[0]}")
        self.checked.append(argv)

    def point(self, link: Path, folder: Path) -> None:
        self.before("point")
        super().point(link, folder)

    def do(self, action: Action) -> None:
        self.before(f"do {action}")
        self.told.append(action)

    def probe_smtp(self, port: int, *, tls: bool) -> None:
        self.before(f"probe {port}")
        self.probed.append(port)

    def probe_web(self, port: int, *, tls: bool) -> None:
        self.before(f"probe {port}")
        self.probed.append(port)


class Box:
    """The keepers of one box at `folder`."""

    def __init__(self, folder: Path, *, dev: bool = False) -> None:
        self.place = Place(data=folder / "data", run=folder / "run", dev=dev)
        for name in ("settings", "claim", "keys"):
            (self.place.data / name).mkdir(parents=True, exist_ok=True)
        self.place.run.mkdir(exist_ok=True)
        self.clock = FakeClock()
        self.effects = Recorder(self.place.run)
        self.store = Store(self.place.settings_database, self.clock)
        self.keystore = Keystore(self.place.keys, self.clock)
        self.claim = ClaimFiles(self.place.claim_folder)
        self.applier = Applier(self.place, self.keystore, self.effects, self.clock)

    def bring(
        self, *, claimed: bool = True, commit: Step = lambda name: None, **names: object
    ) -> list[dict[str, object]]:
        """Apply changed settings as the steward does; `mail__enabled=True` is mail.enabled."""
        revision, _ = self.store.current()
        changes = {name.replace("__", "."): value for name, value in names.items()}
        settings = self.store.planned(changes)
        steps: list[dict[str, object]] = []

        def last() -> None:
            commit("before")
            self.store.commit(settings, author="test", base_revision=revision)
            commit("after")

        wanted = Wanted(settings=settings, revision=revision + 1, claimed=claimed)
        self.applier.apply(wanted, commit=last, progress=lambda step: steps.append(dict(step)))
        return steps

    def snapshot(self) -> dict[str, object]:
        """All that a failed change must not change."""
        link = self.place.run / "rendered"
        lines = (self.keystore.host, self.keystore.local)
        return {
            "files": dict(self.applier.in_force()),
            "folder": link.readlink() if link.is_symlink() else None,
            "run": sorted(path.name for path in self.place.run.iterdir()),
            "keys": sorted(path.name for path in self.place.keys.iterdir()),
            "pairs": [line.live() for line in lines],
            "stored": self.store.current(),
        }


def failing_at(number: int, *, times: int = 1) -> Step:
    """A `before` that refuses at the effects number to number + times - 1, counted from 0."""
    count = iter(range(10_000))

    def before(name: str) -> None:
        if number <= next(count) < number + times:
            raise Refused.because("test.fault", f"{name} fails by intent.")

    return before


def facts_of(folder: Path) -> Facts:
    """A claimed box whose two certificates (mail.example.com, localhost) lie under `folder`."""
    keystore = Keystore(folder / "keys", SystemClock())
    host = keystore.host.pair_for(Subject(("mail.example.com",)))
    local = keystore.local.pair_for(Subject(("localhost",)))
    return Facts(
        data=Path("/data/pennypost"),
        run=Path("/run/pennypost"),
        dev=False,
        claimed=True,
        tls_key=host.key,
        tls_certificate=host.certificate,
        local_key=local.key,
        local_certificate=local.certificate,
        root_certificate=keystore.public_root,
        claim_code="AAAA-BBBB",
        slot="a",
        version="1.2",
    )
