"""The panel daemon as a whole: from files and keys to LEDs, text and orders."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from appliance.base.clock import FakeClock
from hw.bays import Bays
from hw.board import FOLDER, load
from hw.buttons import EVENT, Buttons
from hw.fake import FakeBus, fake_led
from hw.main import Daemon, find_board
from hw.model import Board, Led, Role
from hw.panel import BoardPanel, device_names
from hw.patterns import BROKEN, STEADY, BoxState, Mail, MailDisk
from hw.state import PULSE_SECONDS, Looker, of_word

RESTART, ENTER, ZOOM = 0x198, 28, 0x20B
DOWN, UP = 1, 0
FRONT = load(FOLDER / "test-pca9552.toml")


class Bench:
    """A box in a folder, its front panel with a chip, and one button."""

    def __init__(self, folder: Path, board: Board = FRONT) -> None:
        self.run, self.leds, self.input = folder / "run", folder / "leds", folder / "input"
        for path in (self.run, self.leds, self.input, folder / "text"):
            path.mkdir()
        self.clock = FakeClock()
        self.bus = FakeBus(chips={0x60: {}})
        self.orders: list[tuple[str, Mapping[str, object]]] = []
        self.willing = True
        self.printed: list[str] = []
        self.word, self.pulse = "running", {"accepting": True, "letters": 0}
        os.mkfifo(self.input / "event0")
        self.device = os.open(self.input / "event0", os.O_RDWR)
        self.looker = Looker(
            self.run, self.clock, ask_system=lambda: self.word, ask_relay=lambda _: self.pulse
        )
        self.daemon = Daemon(
            board,
            BoardPanel(board, self.clock.monotonic, leds=self.leds, open_bus=lambda _: self.bus),
            Buttons(self.input),
            self.looker,
            self.clock,
            ask=self.order,
            text=folder / "text" / "status",
            console=self.printed.append,
            bays=Bays(folder / "enclosure", folder / "bays"),
        )

    def order(self, verb: str, args: Mapping[str, object]) -> bool:
        self.orders.append((verb, args))
        return self.willing

    def switch(self, *names: str) -> None:
        (self.run / "rendered").mkdir(exist_ok=True)
        for name in names:
            (self.run / "rendered" / name).touch()

    def key(self, code: int, value: int) -> None:
        os.write(self.device, EVENT.pack(1, 2, 1, code, value))
        self.daemon.turn()

    def hold(self, seconds: float) -> list[str]:
        """Hold the button for so long; what the text said at each stage."""
        self.key(RESTART, DOWN)
        said: list[str] = []
        at = 0.0
        while at + 0.5 < seconds:
            at += 0.5
            self.clock.advance(0.5)
            self.daemon.show_now()
            if not said or said[-1] != self.text:
                said.append(self.text)
        self.clock.advance(seconds - at)
        self.key(RESTART, UP)
        return said

    @property
    def text(self) -> str:
        return self.daemon.text.read_text().strip()

    def selectors(self) -> list[int]:
        return [self.bus.chips[0x60].get(register, 0) for register in (6, 7, 8, 9)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.daemon.buttons.rescan()
    yield bench
    bench.daemon.buttons.close()
    os.close(bench.device)


ON, OFF, FIRST, SECOND = 0, 1, 2, 3


def lit(bench: Bench) -> dict[str, int]:
    """The state of each line of the test board, by its role and colour."""
    lines = {led.line: f"{led.role} {led.colour}" for led in FRONT.leds}
    shown = bench.selectors()
    every = {name: shown[line // 4] >> 2 * (line % 4) & 3 for line, name in lines.items()}
    return {name: bits for name, bits in every.items() if bits != OFF}


def test_the_chip_shows_each_state_of_the_box(bench: Bench) -> None:
    daemon = bench.daemon
    bench.word = "starting"
    daemon.show_now()
    assert lit(bench) == {"power green": FIRST, "health green": FIRST}
    assert bench.text == "starting"
    bench.clock.advance(10)
    bench.word = "running"
    bench.switch("relay.on", "mail.on")
    daemon.show_now()
    assert lit(bench) == {"power green": ON, "health green": ON, "mail green": ON}
    assert bench.text == "ready"
    (bench.run / "rendered" / "mail.on").unlink()
    daemon.show_now()
    # Amber of red and green.
    assert lit(bench) == {"power green": ON, "health green": FIRST, "health red": FIRST}
    assert bench.text == "ATTENTION: mail is switched off"
    until = bench.clock.monotonic() + 300
    (bench.run / "identify").write_text(json.dumps({"until": until}))
    daemon.show_now()
    assert lit(bench)["identify blue"] == FIRST
    assert lit(bench)["health red"] == SECOND
    bench.clock.advance(300)
    daemon.show_now()
    assert "identify blue" not in lit(bench)
    bench.word = "degraded"
    bench.clock.advance(10)
    daemon.show_now()
    assert lit(bench)["health red"] == FIRST
    assert bench.bus.chips[0x60][2] == 10
    assert set(bench.bus.touched) == {0x60}


def test_the_reset_button_tells_its_stages_and_orders_when_it_is_let_go(bench: Bench) -> None:
    bench.switch("relay.on", "mail.on")
    said = bench.hold(21)
    assert bench.orders == [("box.reset", {"what": "factory"})]
    assert bench.printed == [*said, "ready"]
    assert said == [
        "ready",
        "button held; let go now and nothing happens",
        "let go now to reset the administrator's password",
        "let go now to reset the network settings",
        "let go now for a factory reset; mail is kept",
    ]


@pytest.mark.parametrize(
    ("seconds", "order"),
    [
        (0.3, ("claim.press", {})),
        (3, None),
        (6, ("box.reset", {"what": "password"})),
        (12, ("box.reset", {"what": "network"})),
        (40, None),
    ],
)
def test_how_long_it_is_held_decides(
    bench: Bench, seconds: float, order: tuple[str, dict[str, str]] | None
) -> None:
    bench.switch()
    bench.hold(seconds)
    assert bench.orders == ([order] if order else [])
    assert bench.daemon.state.stage is None


def test_keys_of_a_keyboard_are_no_button(bench: Bench) -> None:
    bench.key(ENTER, DOWN)
    bench.clock.advance(6)
    bench.key(ENTER, UP)
    assert bench.orders == []


def test_a_button_that_is_pulled_while_it_is_held_orders_nothing(bench: Bench) -> None:
    bench.key(RESTART, DOWN)
    bench.clock.advance(6)
    os.close(bench.device)
    bench.daemon.turn()
    assert bench.orders == []
    assert bench.daemon.state.stage is None
    (bench.input / "event0").unlink()
    os.mkfifo(bench.input / "event0")
    bench.device = os.open(bench.input / "event0", os.O_RDWR)
    bench.daemon.buttons.rescan()
    bench.key(RESTART, UP)
    assert bench.orders == []


def test_a_press_ends_the_blinking_and_the_identify_button_switches_it(bench: Bench) -> None:
    bench.key(ZOOM, DOWN)
    assert bench.orders == [("box.identify", {"on": True})]
    until = bench.clock.monotonic() + 300
    (bench.run / "identify").write_text(json.dumps({"until": until}))
    bench.daemon.show_now()
    bench.orders.clear()
    bench.hold(0.2)
    bench.key(ZOOM, DOWN)
    assert bench.orders == [("box.identify", {"on": False})] * 2


def test_a_led_that_fails_is_said_once_and_tried_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    chip = bench.bus.chips.pop(0x60)
    bench.switch()
    for _ in range(5):
        bench.daemon.show_now()
        bench.clock.advance(1)
    warnings = [r.message for r in caplog.records if "LED for power" in r.message]
    assert warnings == ["the LED for power cannot be driven: No such device or address"]
    bench.bus.chips[0x60] = chip
    bench.clock.advance(30)
    bench.daemon.show_now()
    assert lit(bench)["power green"] == ON


def test_without_any_led_the_text_still_tells(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench(tmp_path, Board(name="none", title="none"))
    bench.switch()
    bench.daemon.show_now()
    assert bench.text == "waits to be set up"
    assert [r.message for r in caplog.records if "LEDs:" in r.message] == ["board none; LEDs: none"]
    os.close(bench.device)


def test_leds_of_drivers_that_load_late_are_found_and_keyboards_are_not(tmp_path: Path) -> None:
    board = Board(name="b", title="b", leds=(Led(role=Role.HEALTH, device="*:status"),))
    panel = BoardPanel(board, FakeClock().monotonic, leds=tmp_path / "leds")
    panel.bring(BoxState(failing=True))
    assert panel.roles() == set()
    led = fake_led(tmp_path / "leds", "box:red:status")
    fake_led(tmp_path / "leds", "input3::status")
    panel.bring(BoxState(failing=True))
    assert (led / "delay_on").read_text() == str(BROKEN.on_ms)
    assert (led / "trigger").read_text() == "timer"
    panel.show(Role.HEALTH, STEADY)
    assert (led / "trigger").read_text() == "none"
    assert device_names(tmp_path / "leds") == ("box:red:status",)


def test_the_bay_of_a_failing_disk_is_lit_and_dark_again(bench: Bench, tmp_path: Path) -> None:
    slot = tmp_path / "enclosure" / "6:0:0:0" / "Slot 03"
    (slot / "device" / "block" / "sdb").mkdir(parents=True)
    for name in ("locate", "fault"):
        (slot / name).write_text("0")
    disk, wishes = bench.run / "maildisk.json", bench.daemon.bays.wishes
    disk.write_text(json.dumps({"state": "failing", "device": "/dev/sdb"}))
    bench.daemon.show_now()
    assert (slot / "fault").read_text() == "1"
    assert bench.daemon.state.disk is MailDisk.FAULT
    until = bench.clock.monotonic() + 60
    (bench.run / "locate.json").write_text(json.dumps({"device": "/dev/sdc", "until": until}))
    bench.daemon.show_now()
    assert wishes.read_text() == "sdc locate\n", "no enclosure knows it: ledctl may"
    disk.write_text(json.dumps({"state": "ready", "device": "/dev/sdb"}))
    bench.clock.advance(60)
    bench.daemon.show_now()
    assert ((slot / "fault").read_text(), (slot / "locate").read_text()) == ("0", "0")
    assert wishes.read_text() == ""


def test_an_own_board_file_goes_first_and_a_broken_one_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "board.toml"
    own.write_text('name = "own"\ntitle = "Own"\n')
    assert find_board(own).name == "own"
    own.write_text('name = "own"\n')
    assert find_board(own).name.startswith(("generic", "rasp", "rock"))
    assert "title" in caplog.text


# --- what is looked up ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pulses", "seen"),
    [
        ([{"accepting": True, "letters": 3}] * 2, [Mail.FLOWS, Mail.FLOWS]),
        (
            [{"accepting": True, "letters": 3}, {"accepting": True, "letters": 4}],
            [Mail.FLOWS, Mail.LETTER],
        ),
        ([{"accepting": False, "letters": 3}, None], [Mail.DOWN, Mail.DOWN]),
        (["nonsense", {}], [Mail.DOWN, Mail.DOWN]),
    ],
)
def test_the_relays_pulse(tmp_path: Path, pulses: list[Any], seen: list[Mail]) -> None:
    clock, left = FakeClock(), iter(pulses)
    looker = Looker(tmp_path, clock, ask_system=lambda: "running", ask_relay=lambda _: next(left))
    (tmp_path / "rendered").mkdir()
    for name in ("relay.on", "mail.on"):
        (tmp_path / "rendered" / name).touch()
    found = []
    for _ in pulses:
        found.append(looker.look().mail)
        assert looker.look().mail is found[-1], "not asked again so soon"
        clock.advance(PULSE_SECONDS)
    assert found == seen


def test_a_relay_that_has_not_started_yet_is_no_fault(tmp_path: Path) -> None:
    looker = Looker(tmp_path, FakeClock(), ask_system=lambda: "starting", ask_relay=lambda _: None)
    (tmp_path / "rendered").mkdir()
    for name in ("relay.on", "mail.on"):
        (tmp_path / "rendered" / name).touch()
    assert looker.look() == BoxState(starting=True, claimed=True)


@pytest.mark.parametrize(
    ("content", "disk"),
    [
        ('{"state": "ready"}', MailDisk.READY),
        ('{"state": "copying"}', MailDisk.BUSY),
        ('{"state": "readonly"}', MailDisk.FAULT),
        ('{"state": "none"}', MailDisk.NONE),
        ('{"state": ["x"]}', MailDisk.NONE),
        ('{"state"', MailDisk.NONE),
        ("[1]", MailDisk.NONE),
    ],
)
def test_the_mail_disks_file(tmp_path: Path, content: str, disk: MailDisk) -> None:
    (tmp_path / "maildisk.json").write_text(content)
    looker = Looker(tmp_path, FakeClock(), ask_system=lambda: "running")
    assert looker.look().disk is disk


def test_systemds_words() -> None:
    assert of_word("starting").starting
    assert of_word("stopping").stopping
    assert of_word("degraded").failing
    assert of_word("running") == of_word("") == BoxState()
