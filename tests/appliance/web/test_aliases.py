"""The table of aliases: add, look, change, delete and take back, import and export."""

from __future__ import annotations

import io

import pytest

from tests.support.web_box import Visitor, WebBox

HOME = {"mail.main_domain": "office.example", "mail.relay_domains": []}


@pytest.fixture
def owner(box: WebBox) -> Visitor:
    return box.set_up(**HOME)


def aliases(box: WebBox) -> dict[str, list[str]]:
    return {row["alias"]: row["targets"] for row in box.settings()["rules.aliases"]}


def add(owner: Visitor, alias: str, targets: str, **more: str) -> str:
    """Save the form and follow to the page after it."""
    form = {"alias": alias, "targets": targets, **more}
    answer = owner.post("/aliases/edit", form)
    assert answer.status_code == 303, answer.text
    return owner.get(answer.headers["Location"]).text


def test_on_saving_the_page_says_where_mail_finally_goes(box: WebBox, owner: Visitor) -> None:
    page = add(owner, "Info", "anna\nsales, x@away.example", comment="front desk")
    assert aliases(box) == {"info": ["anna", "sales", "x@away.example"]}
    assert "Mail to info ends in the mailboxes: anna." in page
    assert "with its sender rewritten, for: x@away.example." in page
    assert "Nobody here has the address: sales@office.example." in page
    page = add(owner, "sales", "info, bert")
    assert "Mail to sales ends in the mailboxes: " in page
    assert "in a circle: info, sales." in page


@pytest.mark.full
def test_an_alias_is_changed_renamed_and_deleted_and_deleting_is_taken_back(
    box: WebBox, owner: Visitor
) -> None:
    add(owner, "info", "anna")
    add(owner, "team", "bert", old="info")
    assert aliases(box) == {"team": ["bert"]}
    page = owner.post("/aliases/delete", {"alias": "team"}, page="/aliases/")
    assert aliases(box) == {}
    shown = owner.get(page.headers["Location"]).text
    assert "The alias team is deleted." in shown
    revision = page.headers["Location"].rpartition("=")[2]
    assert f'name="revision" value="{revision}"' in shown
    owner.post("/settings/history/undo", {"revision": revision}, page="/settings/history")
    assert aliases(box) == {"team": ["bert"]}
    assert "team: bert" in owner.get("/settings/history").text


@pytest.mark.full
@pytest.mark.parametrize(
    ("alias", "targets", "why"),
    [
        ("a b", "anna", "is not an address"),
        ("info", "", "leads nowhere"),
        ("info", "an na@", "is not an address"),
        ("taken", "anna", "There is an alias “taken” already."),
    ],
)
def test_what_is_wrong_is_said_and_stays_as_typed(
    box: WebBox, owner: Visitor, alias: str, targets: str, why: str
) -> None:
    add(owner, "taken", "bert")
    answer = owner.post("/aliases/edit", {"alias": alias, "targets": targets})
    assert answer.status_code == 422
    assert why in answer.text
    assert f'value="{alias}"' in answer.text
    assert aliases(box) == {"taken": ["bert"]}


@pytest.mark.full
def test_an_alias_that_leads_too_far_is_not_saved(box: WebBox, owner: Visitor) -> None:
    rows = [f"a{n},a{n + 1}" for n in range(25)]
    answer = owner.post("/aliases/import", {"rows": "\n".join(rows)}, page="/aliases/")
    assert answer.status_code == 422
    assert "over more than 20 aliases in a row" in answer.text
    assert aliases(box) == {}


@pytest.mark.full
def test_the_table_is_imported_exported_searched_and_paged(box: WebBox, owner: Visitor) -> None:
    text = "alias;targets;comment\r\n" + "".join(f"n{n:02};anna bert;row\r\n" for n in range(12))
    data = {"file": (io.BytesIO(text.encode()), "a.csv")}
    answer = owner.post("/aliases/import", data, page="/aliases/")  # type: ignore[arg-type]
    assert answer.status_code == 303, answer.text
    assert len(aliases(box)) == 12
    page = owner.get("/aliases/").text
    assert "n09" in page
    assert "n10" not in page
    assert "1 to 10 of 12" in page
    assert "n11" in owner.get("/aliases/?offset=10").text
    assert "1 to 1 of 1" in owner.get("/aliases/?search=N05").text
    assert owner.get("/aliases/?sort=-alias").text.index("n11") > 0
    export = owner.get("/aliases/export.csv")
    assert export.text.splitlines()[:2] == ["alias,targets,comment", "n00,anna bert,row"]
    bad = owner.post("/aliases/import", {"rows": "x,anna\ny"}, page="/aliases/")
    assert bad.status_code == 422
    assert "Line 2: " in bad.text


@pytest.mark.full
def test_the_pages_are_there_while_the_relay_is_silent(box: WebBox, owner: Visitor) -> None:
    add(owner, "info", "anna")
    box.stop("relay")
    assert "info" in owner.get("/aliases/?saved=info").text
