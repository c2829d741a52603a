"""The root and host certificates, judged by OpenSSL as a client would."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from appliance.certs import local_ca
from appliance.certs.local_ca import Subject

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SUBJECT = Subject(("mail.example.com", "pennypost.local"), ("192.0.2.7", "2001:db8::7"))


def verified(folder: Path, *, name: str, at: datetime) -> bool:
    """Whether OpenSSL trusts the host certificate in `folder` for `name` at the time `at`."""
    argv = ["openssl", "verify", "-x509_strict", "-attime", str(int(at.timestamp()))]
    argv += ["-purpose", "sslserver", "-verify_hostname", name]
    argv += ["-CAfile", str(folder / "root.pem"), str(folder / "host.pem")]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = local_ca.make_root(NOW)
    host = local_ca.make_host(root, SUBJECT, NOW)
    (tmp_path / "root.pem").write_bytes(root.certificate_pem)
    (tmp_path / "host.pem").write_bytes(host.certificate_pem)
    return tmp_path


def test_a_client_that_trusts_the_root_trusts_the_host(folder: Path) -> None:
    assert verified(folder, name="mail.example.com", at=NOW)
    assert verified(folder, name="pennypost.local", at=NOW + timedelta(days=395))


def test_a_client_does_not_trust_another_name_or_another_time(folder: Path) -> None:
    assert not verified(folder, name="other.example.com", at=NOW)
    assert not verified(folder, name="mail.example.com", at=NOW + timedelta(days=398))
    assert not verified(folder, name="mail.example.com", at=NOW - timedelta(days=2))


def test_no_certificate_lives_longer_than_browsers_take(folder: Path) -> None:
    host = x509.load_pem_x509_certificate((folder / "host.pem").read_bytes())
    assert host.not_valid_after_utc - host.not_valid_before_utc < timedelta(days=397)


def test_two_boxes_have_two_roots() -> None:
    one, two = local_ca.make_root(NOW), local_ca.make_root(NOW)
    names = {x509.load_pem_x509_certificate(r.certificate_pem).subject for r in (one, two)}
    assert len(names) == 2
    assert one.key_pem != two.key_pem


@pytest.mark.parametrize(
    ("days", "due"), [(0, False), (360, False), (367, True), (400, True), (-3, True)]
)
def test_renewal_is_due_at_both_ends_of_its_time(days: int, due: bool) -> None:
    root = local_ca.make_root(NOW)
    host = local_ca.make_host(root, SUBJECT, NOW)
    later = NOW + timedelta(days=days)
    why = local_ca.why_renew(host.certificate_pem, root.certificate_pem, SUBJECT, later)
    assert bool(why) is due


def test_renewal_is_due_for_a_missing_name_or_address_and_not_for_one_less() -> None:
    root = local_ca.make_root(NOW)
    host = local_ca.make_host(root, SUBJECT, NOW)

    def why(subject: Subject) -> str:
        return local_ca.why_renew(host.certificate_pem, root.certificate_pem, subject, NOW)

    assert why(Subject((*SUBJECT.names, "new.example.com"), SUBJECT.addresses))
    assert why(Subject(SUBJECT.names, ("192.0.2.8",)))
    assert not why(Subject(("mail.example.com",)))


def test_renewal_is_due_for_a_stranger_s_certificate_and_for_rubbish() -> None:
    root, other = local_ca.make_root(NOW), local_ca.make_root(NOW)
    stranger = local_ca.make_host(other, SUBJECT, NOW)
    assert local_ca.why_renew(stranger.certificate_pem, root.certificate_pem, SUBJECT, NOW)
    assert local_ca.why_renew(b"rubbish", root.certificate_pem, SUBJECT, NOW)


def test_a_host_name_longer_than_a_common_name_may_be_is_in_the_alternative_names() -> None:
    long_name = ".".join(["a" * 40, "b" * 40, "example.com"])
    root = local_ca.make_root(NOW)
    host = local_ca.make_host(root, Subject((long_name,)), NOW)
    assert not local_ca.why_renew(
        host.certificate_pem, root.certificate_pem, Subject((long_name,)), NOW
    )


def test_a_key_is_never_part_of_what_is_printed() -> None:
    assert "PRIVATE" not in repr(local_ca.make_root(NOW))
