"""What holds on a running box, before and after it has an owner."""

from __future__ import annotations

import concurrent.futures
import re
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.journeys.conftest import SHUT_PORTS
from tests.support.box import Box
from tests.support.disk import put_esp_file
from tests.support.machine import Hardware
from tests.support.smtp_sink import SmtpSink
from tests.support.time_server import TimeServer
from tests.support.wait import wait_until

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]


def identity(box: Box) -> dict[str, str]:
    """What no two boxes may share."""
    return {
        "machine id": box.root("cat /etc/machine-id"),
        # Made when SSH is switched on for the first time; here by the same script.
        "SSH host key": box.root(
            "/usr/lib/pennypost/bin/ssh-host-key /data/pennypost/keys/ssh"
            " && cat /data/pennypost/keys/ssh/*.pub"
        ),
        "root certificate": box.root("sha256sum < /data/pennypost/keys/public/ca.crt"),
        "TLS key": box.root("sha256sum < /data/pennypost/keys/tls/key.pem"),
    }


def answering(box: Box, ports: Iterable[int]) -> list[int]:
    """The ports of these that answer, all asked at once: silence takes a while to prove."""
    asked = list(ports)
    with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
        answers = pool.map(lambda port: box.answers_on(port, timeout_seconds=4), asked)
        return [port for port, answer in zip(asked, answers, strict=True) if answer]


def test_no_unit_has_failed_and_the_box_is_running(fresh_box: Box, ready_box: Box) -> None:
    for box in (fresh_box, ready_box):
        assert box.wait_until_settled() == "running"
        assert box.failed_units() == []


def test_the_root_cannot_be_written(ready_box: Box) -> None:
    options = ready_box.root("findmnt -no OPTIONS,FSTYPE /").split()
    assert "ro" in options[0].split(",")
    code, said = ready_box.ask("touch /usr/lib/probe || mount -o remount,rw / && touch /usr/probe")
    assert code != 0, said
    assert ready_box.ask("touch /etc/probe")[0] != 0


def test_the_log_lies_on_the_data_partition_and_is_bounded(ready_box: Box) -> None:
    data = ready_box.root("findmnt -no SOURCE /data").split("[")[0]
    assert ready_box.root("findmnt -no SOURCE -T /var/log/journal").split("[")[0] == data
    assert ready_box.root("journalctl --header | grep -c /var/log/journal/") != "0"
    limit = ready_box.root("systemd-analyze cat-config systemd/journald.conf | grep SystemMaxUse=")
    assert re.search(r"^SystemMaxUse=\d+M$", limit, re.MULTILINE)


def test_the_clock_is_right_and_kept_right(ready_box: Box) -> None:
    assert ready_box.root("systemctl is-active systemd-timesyncd") == "active"
    assert abs(int(ready_box.root("date +%s")) - time.time()) < 5


def test_the_clock_follows_the_time_server_that_was_set(ready_box: Box) -> None:
    try:
        server = TimeServer(offset_seconds=3600)
    except PermissionError:
        pytest.skip("time servers have port 123, which only root may open")
    with server:
        ready_box.root("pennypost settings set box.ntp_servers 10.0.2.2")
        wait_until(
            lambda: abs(int(ready_box.root("date +%s")) - time.time() - 3600) < 10,
            what="the server's time on the box",
            timeout_seconds=180,
            every_seconds=1.0,
        )
    assert server.asked > 0


def test_before_the_wizard_only_the_web_ports_answer(fresh_box: Box) -> None:
    for port in (80, 443):
        assert fresh_box.get(guest_port=port).status < 400
    assert answering(fresh_box, (22, 25, 465, 587, *SHUT_PORTS)) == []


def test_after_the_wizard_mail_answers_too_and_nothing_else(ready_box: Box) -> None:
    for port in (25, 80, 443, 465, 587):
        assert ready_box.answers_on(port), port
    assert answering(ready_box, (22, *SHUT_PORTS)) == []


def test_every_listener_is_meant(ready_box: Box) -> None:
    """Looked at from inside: what listens beyond loopback is on the firewall's list."""
    table = ready_box.root("ss -Hltn | awk '{print $4}'")
    addresses = [line.rpartition(":") for line in table.splitlines()]
    open_to_all = {
        int(port)
        for host, _, port in addresses
        if not host.startswith(("127.", "[::1]", "[::ffff:127."))
    }
    assert open_to_all <= {25, 80, 443, 465, 587, 8443}


def test_an_administrators_key_opens_ssh_and_no_password_does(
    ready_box: Box, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    assert not ready_box.answers_on(22, timeout_seconds=3)
    public = key.with_suffix(".pub").read_text().strip()
    ready_box.root(f"pennypost settings set box.ssh_authorized_keys '{public}'")
    wait_until(lambda: ready_box.answers_on(22), what="SSH open", timeout_seconds=60)
    common = [
        *("ssh", "-F", "none", "-p", str(ready_box.port(22)), "-o", "BatchMode=yes"),
        *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
        *("-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=60"),
    ]
    with_key = subprocess.run(
        [*common, "-i", str(key), "root@127.0.0.1", "id", "-un"],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert with_key.stdout.strip() == "root", with_key.stderr
    without = subprocess.run(
        [*common, "-o", "PubkeyAuthentication=no", "root@127.0.0.1", "true"],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert without.returncode == 255
    assert "publickey" in without.stderr


PRESEED_CODE = "Lantern-Orbit-58"
PRESEED_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmVnHSG8dPmHW1JYLYjQk8DOTxmpuSMhJKSTbEKFkdY anna"
)
# The address that the emulator forwards its ports to, and would give by DHCP too.
PRESEED = f"""\
claim_code = "{PRESEED_CODE}"
ssh_keys = ["{PRESEED_KEY}"]
[network]
address = "10.0.2.15/24"
gateway = "10.0.2.2"
"""


def took_over_its_preseed_file(box: Box, first_page: str) -> None:
    assert "pennypost.toml was not used" not in first_page
    assert box.root("pennypost claim show") == PRESEED_CODE
    assert PRESEED_KEY in box.root("cat /run/pennypost/rendered/authorized_keys")
    address = box.root("ip -color=never -4 -o address show scope global")
    assert "10.0.2.15/24" in address
    assert "dynamic" not in address, "it is the fixed one, not one by DHCP"
    assert "DHCPv4" not in box.root("journalctl -q -b -o cat -u systemd-networkd")
    assert PRESEED_CODE not in box.serial
    assert "one of your file pennypost.toml" in box.serial
    wait_until(
        lambda: "PENNYPOST" not in box.root("ls /boot/efi").upper().replace("EFI/PENNYPOST", ""),
        what="the used file off the boot partition",
        timeout_seconds=120,
        every_seconds=1.0,
    )
    assert PRESEED_CODE not in box.root("cat /boot/efi/CLAIM.TXT")
    assert box.ask(f"grep -c '{PRESEED_CODE}' /dev/pennypost/esp")[1] == "0"


def test_a_second_box_with_half_the_memory_comes_up_and_shares_no_secret(
    image: Path, fresh_box: Box, tmp_path: Path
) -> None:
    small = Hardware(memory_mib=512, guest_ports=fresh_box.machine.hardware.guest_ports)
    with Box(tmp_path / "second", small) as second:
        second.flash(image)
        put_esp_file(second.machine.disk, image, "PENNYPOST.TOML", PRESEED.encode())
        second.power_on()
        claim_page = second.wait_for_web()
        second.wait_until_settled()
        assert second.failed_units() == []
        print("memory on 512 MB, waiting for its wizard:\n" + second.root("free -m"))
        ours, theirs = identity(fresh_box), identity(second)
        assert second.root("pennypost claim show") != fresh_box.root("pennypost claim show")
        took_over_its_preseed_file(second, claim_page.body.decode())
    for name, value in ours.items():
        assert value.strip()
        assert value != theirs[name], f"two boxes share their {name}"


def test_the_name_on_the_local_network_is_announced(ready_box: Box) -> None:
    assert ready_box.root("systemctl is-active avahi-daemon") == "active"
    journal = ready_box.journal("avahi-daemon", 200)
    assert "pennypost.local" in journal


def test_every_unit_of_ours_has_its_rights_cut_down(ready_box: Box) -> None:
    for unit, most in {"pennypost-relay": 3.0, "pennypost-web": 3.0}.items():
        said = ready_box.root(f"systemd-analyze security --no-pager {unit} | tail -1")
        found = re.search(r"([\d.]+) \w+", said)
        assert found, said
        assert float(found[1]) <= most, said


def test_the_console_shows_the_state(ready_box: Box, next_hop: SmtpSink) -> None:
    issue = ready_box.root("cat /etc/issue")
    assert "Claim code" not in issue
    assert "Mail service: on" in issue
