"""Hosts, Origin, tokens, cookies and headers: what every request passes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from appliance.web.hosts import is_neighbour, is_own, split_host
from appliance.web.landing import https_url
from tests.support.web_box import ADMIN, PASSWORD, Visitor, WebBox


def raw(box: WebBox, host: str, path: str = "/", **more: str) -> tuple[int, str]:
    # Not by the test client: Debian's Werkzeug chokes on odd hosts in the client itself.
    environ = EnvironBuilder(
        path,
        environ_overrides={"HTTP_HOST": host, "REMOTE_ADDR": "192.168.1.5"},
        headers=dict(more),
    ).get_environ()
    body, status, _ = run_wsgi_app(box.app, environ, buffered=True)
    return int(status.split()[0]), b"".join(body).decode()


@pytest.mark.parametrize(
    "host",
    ["evil.example", "8.8.8.8", "192.0.2.99", "pennypost.evil.example", "", "a b", "[::", "x:y:z"],
)
def test_a_foreign_host_is_refused_without_echo(box: WebBox, host: str) -> None:
    status, text = raw(box, host)
    assert status == 421
    assert not host or host not in text


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1:8080",
        "[::1]:8443",
        "pennypost.local",
        "pennypost-2.local",
        "PENNYPOST",
    ],
)
def test_the_own_names_are_answered(box: WebBox, host: str) -> None:
    assert raw(box, host)[0] == 303


def test_the_mail_name_and_the_allowed_hosts_are_answered(box: WebBox) -> None:
    box.set_up(**{"web.allowed_hosts": ["box.office.example"]})
    for host in ("mail.example.com", "box.office.example:8443"):
        assert raw(box, host, "/sign-in")[0] == 200


def test_forwarded_headers_of_a_stranger_mean_nothing(box: WebBox) -> None:
    headers = {"X-Forwarded-Host": "localhost", "X-Forwarded-For": "127.0.0.1"}
    assert raw(box, "evil.example", **headers)[0] == 421
    stranger = box.app.test_client().get(
        "/wizard/claim", headers=headers, environ_base={"REMOTE_ADDR": "203.0.113.7"}
    )
    assert stranger.status_code == 403


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Mail.Example.com.:25", ("mail.example.com", 25)),
        ("[2001:db8::1]", ("2001:db8::1", None)),
        ("a/b", None),
        ("a@b", None),
        ("a\r\nb", None),
    ],
)
def test_host_headers_are_split(header: str, found: tuple[str, int | None] | None) -> None:
    assert split_host(header) == found


def test_unspecified_and_group_addresses_are_nobodys_own() -> None:
    for name in ("0.0.0.0", "::", "224.0.0.251", "ff02::1"):
        assert not is_own(name, names=())
    assert is_own("127.0.0.1", names=())
    assert is_neighbour("::ffff:192.168.1.2")
    assert not is_neighbour("::ffff:8.8.8.8")
    assert not is_neighbour("100.64.0.1")


# -- CSRF -----------------------------------------------------------------------------


def test_a_form_without_the_token_changes_nothing(box: WebBox, owner: Visitor) -> None:
    form = {"enabled": "off"}
    for token in ("", "x" * 43):
        assert owner.post("/settings/mail/switch", form, token=token).status_code == 403
    assert box.settings()["mail.enabled"] is True


def test_a_token_of_another_session_does_not_do(box: WebBox, owner: Visitor) -> None:
    other = box.visitor("192.168.1.77")
    other.sign_in()
    theirs = other.token("/settings/mail")
    assert owner.post("/settings/mail/switch", {"enabled": "off"}, token=theirs).status_code == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:99"])
def test_a_form_from_another_site_is_refused(owner: Visitor, origin: str) -> None:
    response = owner.post("/sign-out", page="/", origin=origin)
    assert response.status_code == 403
    assert owner.get("/").status_code == 200, "still signed in"


def test_fetch_metadata_of_another_site_is_refused(owner: Visitor) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert owner.post("/sign-out", page="/", headers=headers).status_code == 403


def test_getting_a_page_that_acts_is_not_possible(owner: Visitor) -> None:
    for path in ("/sign-out", "/queue/act", "/settings/mail/switch", "/settings/history/undo"):
        assert owner.get(path).status_code in (404, 405)


# -- sessions and cookies -------------------------------------------------------------


def cookies(response: object) -> list[str]:
    return response.headers.getlist("Set-Cookie")  # type: ignore[attr-defined, no-any-return]


def test_there_is_a_new_session_id_at_sign_in(box: WebBox) -> None:
    box.set_up()
    visitor = box.visitor("192.168.1.30")
    before = visitor.get("/sign-in")
    after = visitor.sign_in()
    (first,), (second,) = cookies(before), cookies(after)
    assert first.split(";")[0] != second.split(";")[0]
    old = box.visitor("192.168.1.31")
    name, _, value = first.split(";")[0].partition("=")
    old.client.set_cookie(name, value, domain="localhost")
    assert old.get("/").status_code == 303


def test_cookies_are_hard_to_get_at(box: WebBox) -> None:
    box.set_up()
    plain, secure = box.visitor(), box.visitor(https=True)
    for visitor in (plain, secure):
        (cookie,) = cookies(visitor.sign_in())
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Path=/" in cookie
        assert ("Secure" in cookie) is (visitor is secure)
        assert cookie.startswith("__Host-pennypost=") is (visitor is secure)


def test_the_database_holds_no_session_id(box: WebBox) -> None:
    box.set_up()
    visitor = box.visitor()
    value = cookies(visitor.sign_in())[0].split(";")[0].partition("=")[2]
    for file in (box.place.data / "web").iterdir():
        assert value.encode() not in file.read_bytes()


def test_signing_out_ends_the_session_on_the_server(box: WebBox, owner: Visitor) -> None:
    kept = dict(owner.client._cookies)
    owner.post("/sign-out", page="/")
    owner.client._cookies.clear()
    owner.client._cookies.update(kept)
    assert owner.get("/").headers["Location"].startswith("/sign-in")


def test_a_sign_in_leads_back_to_the_page_that_was_wanted(box: WebBox) -> None:
    box.set_up()
    visitor = box.visitor()
    wanted = visitor.get("/settings/mail").headers["Location"]
    assert wanted == "/sign-in?next=/settings/mail"
    form = {"name": ADMIN, "password": PASSWORD, "next": "/settings/mail"}
    assert visitor.post("/sign-in", form).headers["Location"] == "/settings/mail"


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:1", "\\x"]
)
def test_a_sign_in_leads_to_no_other_site(box: WebBox, target: str) -> None:
    box.set_up()
    form = {"name": ADMIN, "password": PASSWORD, "next": target}
    assert box.visitor().post("/sign-in", form).headers["Location"] == "/"


# -- headers and pages ----------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/sign-in", "/queue/", "/none", "/static/pennypost.css"])
def test_every_answer_carries_the_headers(owner: Visitor, path: str) -> None:
    headers = owner.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"
    if not path.startswith("/static"):
        assert headers["Cache-Control"] == "no-store"


def test_no_template_holds_inline_script_or_style(root: Path) -> None:
    for template in (root / "appliance" / "web" / "templates").rglob("*.html"):
        text = template.read_text()
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:", text), template
        for script in re.findall(r"<script[^>]*>", text):
            assert "src=" in script, template


def test_no_template_turns_escaping_off(root: Path) -> None:
    for template in (root / "appliance" / "web" / "templates").rglob("*.html"):
        assert "|safe" not in template.read_text(), template
        assert "autoescape" not in template.read_text(), template


PRIVATE = (
    "/", "/queue/", "/queue/letter/x", "/queue/delete", "/trace/", "/people/",
    "/settings/", "/settings/mail",
    "/settings/history", "/dns/", "/manual/", "/manual/home", "/style", "/more", "/wizard/done",
)  # fmt: skip


def test_nothing_is_shown_without_a_sign_in(box: WebBox) -> None:
    box.set_up()
    stranger = box.visitor()
    for path in PRIVATE:
        response = stranger.get(path)
        assert response.status_code == 303, path
        if not path.startswith("/wizard"):
            assert response.headers["Location"].startswith("/sign-in"), path
    assert stranger.post("/queue/act", {"do": "send"}, token="x").status_code == 403


def test_an_unexpected_error_shows_a_number_and_no_insides(
    box: WebBox, owner: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("secret insides")

    monkeypatch.setattr(box.app.extensions["pennypost"].accounts, "administrators", broken)
    response = owner.get("/people/")
    assert response.status_code == 500
    assert "secret insides" not in response.text
    assert "RuntimeError" not in response.text
    assert "Number in the log" in response.text


def test_a_large_request_is_refused(owner: Visitor) -> None:
    response = owner.client.post(
        "/sign-in", data={"name": "x" * 3_000_000}, base_url="http://localhost"
    )
    assert response.status_code in (403, 413)


# -- plain HTTP on the box ------------------------------------------------------------


def test_plain_http_on_the_box_gives_the_landing_page_only(tmp_path: Path) -> None:
    with WebBox(tmp_path, behind_proxy=True) as box:
        visitor = box.visitor()
        page = visitor.get("/")
        assert page.status_code == 200
        assert "Your browser will warn you once" in page.text
        assert 'href="https://localhost/"' in page.text
        assert 'href="/ca.crt"' in page.text
        certificate = visitor.get("/ca.crt")
        assert certificate.data.startswith(b"-----BEGIN CERTIFICATE-----")
        for path in ("/wizard/claim", "/sign-in", "/queue/"):
            assert visitor.get(path).headers["Location"] == "/"
        assert visitor.post("/sign-in", {"name": "x"}, token="x").status_code == 403
        assert box.visitor(https=True).get("/").headers["Location"] == "/wizard/"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("pennypost.local", "https://pennypost.local/"),
        ("192.168.1.9:80", "https://192.168.1.9/"),
        ("localhost:8080", "https://localhost:8443/"),
        ("[fd00::1]", "https://[fd00::1]/"),
    ],
)
def test_the_landing_page_leads_to_the_right_port(host: str, url: str) -> None:
    assert https_url(host) == url
