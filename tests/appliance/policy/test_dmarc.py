"""DMARC: who is aligned with whom, which policy holds, and what is never rejected."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.dns.resolver import FakeResolver
from appliance.policy import dmarc, psl
from appliance.policy.dmarc import DmarcResult
from appliance.policy.spf import SpfResult

RULES = psl.parse(["com", "uk", "co.uk", "gov"])


@dataclass(frozen=True)
class Signature:
    result: str
    domain: str


def spf(said: str) -> SpfResult:
    result, _, domain = said.partition(" ")
    return SpfResult(result, domain, "mailfrom", "")


def check(
    from_domains: str,
    records: Mapping[str, Sequence[str] | str],
    *,
    spf_said: str = "none",
    dkim_said: Sequence[str] = (),
    dice: float = 0.0,
    fail: Sequence[str] = (),
    rules: psl.Rules | None = RULES,
    **zones: Mapping[str, Sequence[Any]],
) -> DmarcResult:
    """Check against `records`: domain to DMARC texts. Results are written "pass example.com"."""
    texts = {
        f"_dmarc.{name}": [text] if isinstance(text, str) else text
        for name, text in records.items()
    }
    return asyncio.run(
        dmarc.check(
            FakeResolver(TXT=texts, fail=fail, **zones),
            from_domains=from_domains.split(),
            spf=spf(spf_said),
            dkim=[Signature(*said.split()) for said in dkim_said],
            dice=dice,
            rules=rules,
        )
    )


@pytest.mark.parametrize(
    ("author", "tags", "spf_said", "dkim_said", "by"),
    [
        # Relaxed is the default: the same organization is enough.
        ("example.com", "", "pass example.com", "", "spf"),
        ("example.com", "", "pass bounce.example.com", "", "spf"),
        ("a.example.com", "", "pass b.example.com", "", "spf"),
        ("a.example.com", "", "pass example.com", "", "spf"),
        ("example.com", "", "pass EXAMPLE.com", "", "spf"),
        ("EXAMPLE.com.", "", "pass example.com", "", "spf"),
        ("example.com", "", "", "pass example.com", "dkim"),
        ("example.com", "", "", "pass mail.example.com", "dkim"),
        ("example.com", "", "fail example.com", "pass example.com", "dkim"),
        ("example.com", "", "pass example.com", "pass example.com", "dkim"),
        ("example.com", "", "", "fail example.com, pass other.com, pass example.com", "dkim"),
        ("example.com", "", "temperror example.com", "pass example.com", "dkim"),
        # Others do not count, whatever they pass.
        ("example.com", "", "pass other.com", "pass other.com", ""),
        ("example.com", "", "pass notexample.com", "", ""),
        ("example.com", "", "pass example.com.evil.com", "", ""),
        ("example.com", "", "pass com", "pass com", ""),
        ("a.co.uk", "", "pass b.co.uk", "pass co.uk", ""),
        ("a.bank.example", "", "pass thief.example", "", ""),
        ("example.com", "", "pass ", "", ""),
        ("example.com", "", "pass [192.0.2.1]", "", ""),
        # Only a pass counts.
        ("example.com", "", "softfail example.com", "", ""),
        ("example.com", "", "neutral example.com", "neutral example.com", ""),
        ("example.com", "", "permerror example.com", "permerror example.com", ""),
        ("example.com", "", "none", "policy example.com", ""),
        # Strict: the very same name.
        ("example.com", "adkim=s; aspf=s", "pass example.com", "", "spf"),
        ("example.com", "adkim=s; aspf=s", "pass a.example.com", "pass a.example.com", ""),
        ("example.com", "adkim=s", "pass a.example.com", "pass a.example.com", "spf"),
        ("example.com", "aspf=s", "pass a.example.com", "pass a.example.com", "dkim"),
        ("a.example.com", "adkim=s", "", "pass example.com", ""),
        # Internationalized names are one name in two forms.
        ("bücher.com", "", "pass xn--bcher-kva.com", "", "spf"),
        ("xn--bcher-kva.com", "", "", "pass bücher.com", "dkim"),
    ],
)
def test_alignment(author: str, tags: str, spf_said: str, dkim_said: str, by: str) -> None:
    name = author.rstrip(".").lower().replace("bücher", "xn--bcher-kva")
    result = check(
        author,
        {psl.organizational_domain(name, RULES): f"v=DMARC1; p=reject; {tags}"},
        spf_said=spf_said or "none",
        dkim_said=[said for said in dkim_said.split(", ") if said],
    )
    assert result.aligned_by == by
    assert result.result == ("pass" if by else "fail")
    assert result.disposition == ("none" if by else "reject")
    assert result.domain == name


@pytest.mark.parametrize(
    ("author", "records", "policy"),
    [
        ("example.com", {"example.com": "p=reject; sp=quarantine"}, "reject"),
        ("example.com", {"example.com": "p=none"}, "none"),
        ("a.example.com", {"example.com": "p=reject"}, "reject"),
        ("a.example.com", {"example.com": "p=reject; sp=quarantine"}, "quarantine"),
        ("a.b.example.com", {"example.com": "p=reject; sp=none"}, "none"),
        ("a.example.com", {"example.com": "p=reject", "a.example.com": "p=none"}, "none"),
        (
            "a.example.com",
            {"example.com": "p=none", "a.example.com": "p=quarantine; sp=reject"},
            "quarantine",
        ),
        # Only the domain itself and its organization are asked, none between them.
        ("a.b.example.com", {"b.example.com": "p=reject", "example.com": "p=none"}, "none"),
        # np is for names that do not exist.
        ("here.example.com", {"example.com": "p=none; np=reject"}, "none"),
        ("gone.example.com", {"example.com": "p=none; np=reject"}, "reject"),
        ("gone.example.com", {"example.com": "p=none; sp=quarantine; np=none"}, "none"),
        ("gone.example.com", {"example.com": "p=none; sp=quarantine"}, "quarantine"),
        ("example.com", {"example.com": "p=none; np=reject"}, "none"),
        # A public suffix speaks for those below it, if it says that it is one.
        ("gone.gov", {"gov": "p=none; sp=quarantine; np=reject; psd=y"}, "reject"),
        ("a.gone.gov", {"gov": "p=reject; psd=y"}, "reject"),
        ("a.agency.gov", {"gov": "p=reject; psd=y", "agency.gov": "p=none"}, "none"),
    ],
)
def test_the_policy_that_holds(author: str, records: Mapping[str, str], policy: str) -> None:
    texts = {name: f"v=DMARC1; {tags}" for name, tags in records.items()}
    result = check(author, texts, A={"here.example.com": ["192.0.2.1"]})
    assert (result.result, result.policy, result.disposition) == ("fail", policy, policy)


@pytest.mark.parametrize(
    ("author", "records"),
    [
        ("example.com", {}),
        ("a.example.com", {}),
        ("example.com", {"example.com": ["v=DMARC1; p=reject", "v=DMARC1; p=none"]}),
        (
            "a.example.com",
            {
                "a.example.com": ["v=DMARC1; p=none", "v=DMARC1; p=none"],
                "example.com": "v=DMARC1; p=reject",
            },
        ),
        ("example.com", {"example.com": "v=DMARC1; p=maybe"}),
        ("example.com", {"example.com": "v=DMARC2; p=reject"}),
        ("example.com", {"com": "v=DMARC1; p=reject"}),
        ("agency.gov", {"gov": "v=DMARC1; p=reject; psd=n"}),
        ("x" * 60 + ".example.com", {"other.com": "v=DMARC1; p=reject"}),
        (".".join(["x" * 40] * 6) + ".com", {"com": "v=DMARC1; p=reject"}),
        ("localhost", {}),
    ],
)
def test_without_one_clear_record_nothing_is_asked_for(
    author: str, records: Mapping[str, Sequence[str] | str]
) -> None:
    result = check(author, records, spf_said=f"pass {author}")
    assert (result.result, result.disposition, result.policy) == ("none", "none", "")


@pytest.mark.parametrize(
    ("author", "tags", "spf_said", "dkim_said", "result", "disposition"),
    [
        # RFC 7489 appendix B.1.1: SPF, in its three examples
        ("example.com", "p=reject", "pass example.com", "", "pass", "none"),
        ("example.com", "p=reject; aspf=s", "pass example.com", "", "pass", "none"),
        ("example.com", "p=reject", "pass child.example.com", "", "pass", "none"),
        ("example.com", "p=reject; aspf=s", "pass child.example.com", "", "fail", "reject"),
        ("child.example.com", "p=reject", "pass example.net", "", "fail", "reject"),
        # B.1.2: DKIM likewise
        ("example.com", "p=reject; adkim=s", "", "pass example.com", "pass", "none"),
        ("child.example.com", "p=reject", "", "pass example.com", "pass", "none"),
        ("child.example.com", "p=reject; adkim=s", "", "pass example.com", "fail", "reject"),
        ("child.example.com", "p=reject", "", "pass sample.net", "fail", "reject"),
        # B.2.1 to B.2.4: only watching, with reports that change nothing, and in part
        ("example.com", "p=none; rua=mailto:d@example.com", "", "", "fail", "none"),
        ("example.com", "p=none; ruf=mailto:d@example.com; fo=1", "fail example.com", "", "fail",
         "none"),
        ("example.com", "p=none; rua=mailto:d@x.example!10m", "", "fail example.com", "fail",
         "none"),
        ("test.example.com", "p=quarantine; pct=25", "", "", "fail", "quarantine"),
        # and what the two softeners do to sp and np
        ("a.example.com", "p=reject; sp=quarantine; pct=0", "", "", "fail", "none"),
        ("a.example.com", "p=none; sp=reject; t=y", "", "", "fail", "quarantine"),
        ("gone.example.com", "p=none; np=reject; t=y", "", "", "fail", "quarantine"),
    ],
)  # fmt: skip
def test_the_examples_of_the_standard(
    author: str, tags: str, spf_said: str, dkim_said: str, result: str, disposition: str
) -> None:
    found = check(
        author,
        {"example.com": f"v=DMARC1; {tags}"},
        spf_said=spf_said or "none",
        dkim_said=[dkim_said] if dkim_said else [],
    )
    assert (found.result, found.disposition) == (result, disposition)


def test_other_texts_beside_the_record_do_not_count() -> None:
    records = {"example.com": ["v=spf1 -all", "v=DMARC1; p=reject", "hello"]}
    assert check("example.com", records).disposition == "reject"


@pytest.mark.parametrize(
    ("tags", "dice", "disposition"),
    [
        ("p=reject; pct=100", 0.999, "reject"),
        ("p=reject; pct=50", 0.499, "reject"),
        ("p=reject; pct=50", 0.5, "quarantine"),
        ("p=reject; pct=0", 0.0, "quarantine"),
        ("p=quarantine; pct=0", 0.0, "none"),
        ("p=none; pct=0", 0.0, "none"),
        ("p=reject; pct=500", 0.999, "reject"),
        ("p=reject; t=y", 0.0, "quarantine"),
        ("p=quarantine; t=y", 0.0, "none"),
        ("p=reject; t=y; pct=0", 0.0, "quarantine"),
        ("p=reject; t=n", 0.0, "reject"),
    ],
)
def test_a_share_and_a_test_soften_the_policy_by_one_step(
    tags: str, dice: float, disposition: str
) -> None:
    result = check("example.com", {"example.com": f"v=DMARC1; {tags}"}, dice=dice)
    assert (result.result, result.disposition) == ("fail", disposition)
    assert result.policy == tags.partition(";")[0].removeprefix("p=")


@pytest.mark.parametrize(
    ("author", "settings"),
    [
        ("example.com", {"fail": ["TXT _dmarc.example.com"]}),
        ("a.example.com", {"fail": ["TXT _dmarc.a.example.com"]}),
        ("a.other.com", {"fail": ["TXT _dmarc.other.com"]}),
        ("example.com", {"spf_said": "temperror example.com"}),
        ("example.com", {"spf_said": "fail example.com", "dkim_said": ["temperror example.com"]}),
        ("example.com", {"dkim_said": ["fail example.com", "temperror a.example.com"]}),
    ],
)
def test_what_could_not_be_looked_up_is_never_rejected(
    author: str, settings: dict[str, Any]
) -> None:
    result = check(author, {"example.com": "v=DMARC1; p=reject"}, **settings)
    assert (result.result, result.disposition) == ("temperror", "none")


def test_a_failure_of_somebody_else_does_not_excuse() -> None:
    result = check(
        "example.com",
        {"example.com": "v=DMARC1; p=reject"},
        spf_said="temperror evil.com",
        dkim_said=["temperror evil.com"],
    )
    assert (result.result, result.disposition) == ("fail", "reject")


def test_whether_a_name_exists_is_doubted_in_its_favour() -> None:
    records = {"example.com": "v=DMARC1; p=none; np=reject"}
    result = check("gone.example.com", records, fail=["AAAA gone.example.com"])
    assert result.disposition == "none"


@pytest.mark.parametrize(
    "from_domains",
    ["", "a.com b.com", "example.com b.com", "[192.0.2.1]", "a..com", "a_b$.com", "x" * 300],
)
def test_a_from_field_without_one_domain_is_a_permanent_error(from_domains: str) -> None:
    result = check(from_domains, {"example.com": "v=DMARC1; p=reject"})
    assert (result.result, result.disposition) == ("permerror", "none")


def test_two_addresses_of_one_domain_are_one_domain() -> None:
    records = {"example.com": "v=DMARC1; p=reject"}
    assert check("example.com EXAMPLE.com", records).result == "fail"


def test_a_domain_may_declare_where_its_organization_begins() -> None:
    top = {"school.example.com": "v=DMARC1; p=reject; psd=n", "example.com": "v=DMARC1; p=none"}
    said = {"spf_said": "pass pupil.school.example.com"}
    assert check("school.example.com", top, **said).aligned_by == "spf"
    result = check("school.example.com", top, spf_said="pass example.com")
    assert (result.result, result.organizational_domain) == ("fail", "school.example.com")
    assert check("school.example.com", top, spf_said="pass xschool.example.com").result == "fail"


def test_the_customers_of_a_declared_suffix_are_strangers_to_each_other() -> None:
    suffix = {"example.com": "v=DMARC1; p=reject; psd=y"}
    result = check("a.example.com", suffix, dkim_said=["pass b.example.com", "pass example.com"])
    assert (result.result, result.organizational_domain) == ("fail", "a.example.com")
    assert check("a.example.com", suffix, spf_said="pass x.a.example.com").result == "pass"


def test_without_the_list_of_suffixes_nobody_is_rejected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    records = {"example.com": "v=DMARC1; p=reject"}
    monkeypatch.setattr(psl, "DEBIAN_LIST", tmp_path / "none.dat")
    assert check("example.com", records, rules=None).result == "temperror"
