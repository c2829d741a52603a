"""Board files: what they say, and what is wrong with them in words."""

from pathlib import Path

import pytest

from appliance.base.finding import Refused
from hw.board import FOLDER, bay_of, choose, known, load, machine, read
from hw.model import Role

HEAD = 'name = "x"\ntitle = "X"\n'
CHIP = '[[chip]]\nname = "front"\nkind = "pca9551"\nbus = 1\naddress = 0x60\n'


def test_every_board_of_the_image_can_be_read_and_has_the_name_of_its_file() -> None:
    assert {board.name for board in known()} == {path.stem for path in FOLDER.glob("*.toml")}
    assert {"raspberrypi", "rockpro64", "rock-pi-4"} <= {board.name for board in known()}


@pytest.mark.parametrize(
    ("compatible", "dmi", "name"),
    [
        (("raspberrypi,4-model-b", "brcm,bcm2711"), "/", "raspberrypi"),
        (("pine64,rockpro64-v2.1", "pine64,rockpro64", "rockchip,rk3399"), "/", "rockpro64"),
        (("radxa,rockpi4b", "radxa,rockpi4", "rockchip,rk3399"), "/", "rock-pi-4"),
        (("linux,dummy-virt",), "/", "generic-arm64"),
        ((), "QEMU/Standard PC (Q35 + ICH9, 2009)", "generic-amd64"),
    ],
)
def test_a_machine_gets_its_own_board_or_a_generic_one(
    compatible: tuple[str, ...], dmi: str, name: str
) -> None:
    found = choose(known(), compatible, dmi)
    assert found is not None
    assert found.name == name


def test_a_machine_is_recognised_by_what_the_kernel_says_of_it(tmp_path: Path) -> None:
    (tmp_path / "compatible").write_bytes(b"radxa,rockpi4b\0rockchip,rk3399\0")
    (tmp_path / "sys_vendor").write_text("QEMU\n")
    found = machine(tmp_path / "compatible", tmp_path)
    assert found == (("radxa,rockpi4b", "rockchip,rk3399"), "QEMU/")
    assert machine(tmp_path / "nothing", tmp_path / "nothing") == ((), "/")
    assert choose([], (), "/") is None


def test_the_test_board_has_a_chip_buttons_and_bays() -> None:
    board = load(FOLDER / "test-pca9552.toml")
    assert board.roles == set(Role)
    assert board.chips[0].address == 0x60
    assert board.reset_keys == {0x198}
    assert bay_of(board, "pci-0000:00:1f.2-ata-2.0") == 2
    assert bay_of(board, "pci-0000:00:1f.2-ata-3") is None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("nonsense", "file"),
        ('title = "X"', "name"),
        ('name = 3\ntitle = "X"', "name"),
        (HEAD + "colour = 1", "colour"),
        (HEAD + 'compatible = "a"', "compatible"),
        (HEAD + "led = 3", "led"),
        (HEAD + '[[led]]\nrole = "sun"\ndevice = "a"', "led 1.role"),
        (HEAD + '[[led]]\nrole = "mail"\ncolour = "pink"\ndevice = "a"', "led 1.colour"),
        (HEAD + '[[led]]\nrole = "mail"', "led 1.device"),
        (HEAD + '[[led]]\nrole = "mail"\ndevice = "../../x"', "led 1.device"),
        (HEAD + '[[led]]\nrole = "mail"\nwhere = "x"', "led.where"),
        (HEAD + '[[led]]\nrole = "mail"\nchip = "front"\nline = 1', "led 1.chip"),
        (HEAD + CHIP + '[[led]]\nrole = "mail"\nchip = "front"\nline = 8', "led 1.line"),
        (HEAD + CHIP.replace("pca9551", "pca9632"), "chip 1.kind"),
        (HEAD + CHIP.replace("0x60", "0x78"), "chip 1.address"),
        (HEAD + CHIP.replace("bus = 1", "bus = true"), "chip 1.bus"),
        (HEAD + "buttons = 3", "buttons"),
        (HEAD + '[buttons]\nreset = ["KEY_A"]', "buttons.reset"),
        (HEAD + "[buttons]\nreset = 5", "buttons.reset"),
        (HEAD + '[[bay]]\nnumber = -1\npath = "a"', "bay 1.number"),
        (HEAD + "[[bay]]\nnumber = 1", "bay 1.path"),
    ],
)
def test_a_mistake_names_its_field(text: str, field: str) -> None:
    with pytest.raises(Refused) as caught:
        read(text)
    assert caught.value.finding.check == f"board.{field}"
    assert field in caught.value.finding.say


def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Refused, match="UTF-8"):
        load(path)
    path.write_bytes(b"#" * 70_000)
    with pytest.raises(Refused, match="larger"):
        load(path)
