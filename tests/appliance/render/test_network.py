"""The box's address as networkd reads it."""

from appliance.render import network
from appliance.settings import schema
from tests.rootfs.shell import ROOTFS


def rendered(**names: object) -> dict[str, list[str]]:
    """The lines of the file by section."""
    settings = schema.from_json({f"network.{name}": value for name, value in names.items()})
    found: dict[str, list[str]] = {}
    section = ""
    for line in network.render(settings)[network.FILE].decode().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            found.setdefault(section, []).append(line)
    return found


def test_without_a_choice_the_file_says_what_the_image_says() -> None:
    shipped = (ROOTFS / "etc/systemd/network/80-ethernet.network").read_text()
    wanted = {line for line in shipped.splitlines() if "=" in line and line[0] != "#"}
    assert {line for lines in rendered().values() for line in lines} == wanted


def test_a_fixed_address_replaces_what_dhcp_gives_of_its_kind() -> None:
    lines = rendered(mode="static", address="192.168.1.20/24", gateway="192.168.1.1")["Network"]
    assert {"Address=192.168.1.20/24", "Gateway=192.168.1.1", "DHCP=ipv6"} <= set(lines)
    lines = rendered(mode="static", address="2001:db8::2/64", gateway="fe80::1")["Network"]
    assert {"Address=2001:db8::2/64", "Gateway=fe80::1", "DHCP=ipv4"} <= set(lines)


def test_an_address_kept_for_later_is_not_used() -> None:
    lines = rendered(mode="dhcp", address="192.168.1.20/24", gateway="192.168.1.1")["Network"]
    assert "DHCP=yes" in lines
    assert not any(line.startswith(("Address=", "Gateway=")) for line in lines)
