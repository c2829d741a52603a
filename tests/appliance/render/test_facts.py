"""Facts read from the kernel's own tables."""

from appliance.render import facts

FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 192.168.1.0/24 2 0 2
        |-- 192.168.1.0
           /24 link UNICAST
        |-- 192.168.1.20
           /32 host LOCAL
        |-- 192.168.1.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
"""
IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000505400fffe123456 02 40 20 80     eth0
20010db8000000000000000000000007 02 40 00 80     eth0
fd000000000000000000000000000007 02 40 00 80     eth0
"""


def test_own_addresses_are_those_the_kernel_calls_local() -> None:
    assert list(facts.addresses_of_fib_trie(FIB_TRIE)) == ["192.168.1.20"]


def test_link_local_and_loopback_addresses_are_left_out() -> None:
    assert list(facts.addresses_of_if_inet6(IF_INET6)) == ["2001:db8::7", "fd00::7"]


def test_a_certificate_holds_only_addresses_that_last() -> None:
    held = facts.addresses_for_certificate(["203.0.113.9", "2a00:1:2::7", "fd00::7"])
    assert held == ("127.0.0.1", "::1", "203.0.113.9", "fd00::7")


def test_this_machine_s_addresses_are_found() -> None:
    found = facts.own_addresses()
    assert "127.0.0.1" not in found
    assert "::1" not in found


def test_the_slot_is_on_the_kernel_s_command_line() -> None:
    assert facts.slot_of("root=/dev/vda4 pennypost.slot=b quiet") == "b"
    assert facts.slot_of("root=/dev/vda4 xpennypost.slot=b") == ""


def test_the_version_is_the_image_s() -> None:
    assert facts.version_of('NAME="Debian"\nIMAGE_VERSION="2026.11"\n') == "2026.11"
    assert facts.version_of("NAME=Debian\n") == ""
