"""The simulator says what a real session would say (FEATURES B9)."""

from __future__ import annotations

import base64
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import pytest

from appliance.base.clock import FakeClock
from appliance.base.finding import Refused
from appliance.policy.chain import Chain, Watch
from appliance.policy.relay_access import may_relay
from appliance.policy.rules import Rules
from appliance.policy.tools import Tools
from appliance.policy.verdict import Port, Stage, Station
from appliance.relay import observers, simulator
from appliance.relay.simulator import Question, Told, question_of, simulate
from appliance.spool import queries
from tests.support import mail_cases, plain_replies
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import Answer, SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.tls import self_signed

PASSWORD = "correct-horse-battery-4711"
CASES = int(os.environ.get("PENNYPOST_SIMULATOR_CASES", "10000"))
CASES_PER_BOX = 150
Said = tuple[str, int, str]  # command, code, enhanced code


@dataclass
class Caller:
    """One real connection, for many letters."""

    box: RelayBox
    source: str
    port: Port
    user: str
    tls: bool = False
    client: SmtpClient | None = None
    begin: list[Said] = field(default_factory=list)

    def open(self) -> None:
        """Connect, encrypt and sign in."""
        client = SmtpClient(
            "127.0.0.1",
            self.box.port(self.port),
            source=self.source,
            tls=self.port is Port.SUBMISSIONS,
        )
        self.client = client
        self.begin = [said("", client.banner)]
        if client.banner.code != 220:
            return
        client.hello()
        if self.tls and self.port is not Port.SUBMISSIONS:
            client.starttls()
        if self.user:
            words = base64.b64encode(f"\0{self.user}\0{PASSWORD}".encode()).decode()
            self.begin.append(said("AUTH", client.command(f"AUTH PLAIN {words}")))

    def close(self) -> None:
        if self.client is not None:
            self.client.close()

    def send(self, question: Question) -> list[Said]:
        """One letter in two writes; what was said until it was refused, or to the end."""
        client, begin = self.client, self.begin
        assert client is not None
        if begin[0][1] != 220:
            return begin
        commands = [
            f"EHLO {question.hello}",
            f"MAIL {question.mail}",
            *(f"RCPT TO:<{recipient}>" for recipient in question.recipients),
            "DATA",
        ]
        client.send("".join(f"{line}\r\n" for line in commands).encode())
        answers = [client.read_answer() for _ in commands]
        if answers[-1].code == 354:
            client.send(question.stuffed[2:] + b".\r\n")
            commands.append(".")
            answers.append(client.read_answer())
        found = [said(line, answer) for line, answer in zip(commands, answers, strict=True)]
        if answers[0].code != 250:
            client.command("RSET")
            return [begin[0], found[0]]
        if begin[-1][0] == "AUTH":
            found.insert(1, begin[1])
            if begin[1][1] != 235:
                return [begin[0], *found[:2]]
        found.insert(0, begin[0])
        mail = next(i for i, one in enumerate(found) if one[0].startswith("MAIL"))
        if found[mail][1] != 250:
            return found[: mail + 1]
        last = mail + len(question.recipients)
        if not any(code == 250 for _, code, _ in found[mail + 1 : last + 1]):
            return found[: last + 1]
        return found


def said(command: str, answer: Answer) -> Said:
    if answer.code >= 400:
        assert plain_replies.trouble_of_line(f"{answer.code} {answer.lines[-1]}") == ""
    first, _, _ = answer.lines[0].partition(" ")
    enhanced = first if first.count(".") == 2 and first.replace(".", "").isdigit() else ""
    return command, answer.code, enhanced


def played(box: RelayBox, question: Question) -> list[Said]:
    """What the simulator says. The greeting, EHLO and 354 have no enhanced code."""
    outcome = box.run(simulate(box.shop, question))
    for turn in outcome.turns:
        refused = [w.told for w in turn.words if w.told in (Told.REJECT, Told.DEFER)]
        assert len(refused) == turn.reply.is_error, turn
        assert not refused or (refused[0] is Told.REJECT) is turn.reply.is_permanent, turn
    return [(turn.command, turn.reply.code, turn.reply.enhanced) for turn in outcome.turns]


def compare(folder: Path, seed: str, cases: int, next_hop: SmtpSink) -> tuple[int, set[Said]]:
    """Letters to one random box, each simulated first. The kinds of answers there were."""
    dice = random.Random(seed)
    clock = FakeClock()
    pem = folder / "sink.example.com.pem"
    if not pem.exists():
        self_signed(folder)
    wanted = mail_cases.settings(dice, next_hop.address)
    kinds: set[Said] = set()
    done = 0
    with RelayBox(
        folder / seed.replace(" ", "-"),
        wanted,
        resolver=mail_cases.resolver(),
        certificate=(pem, pem),
        deliver=False,
        accounts=dict.fromkeys(mail_cases.PEOPLE, PASSWORD),
        clock=clock,
    ) as box:
        if dice.random() < 0.05:
            box.take({}, accepting=False)
        while done < cases:
            port = dice.choice([Port.SMTP] * 4 + [Port.SUBMISSION, Port.SUBMISSIONS])
            tls = port is Port.SUBMISSIONS or dice.random() < (0.8 if port.is_submission else 0.05)
            user = dice.choice(("anna", "bert", "")) if tls and port.is_submission else ""
            caller = Caller(box, mail_cases.client(dice), port, user, tls=tls)
            try:
                caller.open()
                for _ in range(min(cases - done, dice.randint(1, 30))):
                    clock.advance(dice.choice((0, 0, 1, 30, 100, 4000)))
                    question = mail_cases.question(dice, caller.source, port, tls=tls, user=user)
                    expected = played(box, question)
                    really = caller.send(question)
                    assert expected == really, f"seed {seed!r}, letter {done}: {question}"
                    kinds |= {(line.split(" ")[0], code, more) for line, code, more in really}
                    done += 1
                    if caller.begin[0][1] != 220:
                        break
            finally:
                caller.close()
    return done, kinds


@pytest.fixture(scope="module")
def next_hop() -> Iterator[SmtpSink]:
    with SmtpSink() as sink:
        unknown = {
            f"{local}@{domain}": "550 5.1.1 nobody"
            for local in ("unknown-1", "nobody", "ANNA")
            for domain in mail_cases.OURS
        }
        sink.plan = replace(Plan(), recipients=unknown)
        yield sink


def test_it_says_what_sessions_say(tmp_path: Path, next_hop: SmtpSink) -> None:
    compare(tmp_path, "small 1", 50, next_hop)


@pytest.mark.full
def test_it_says_what_sessions_say_in_thousands_of_cases(
    tmp_path: Path, next_hop: SmtpSink
) -> None:
    done, kinds, begun = 0, set[Said](), time.monotonic()
    seed = os.environ.get("PENNYPOST_SEED", "9")
    while done < CASES:
        more, seen = compare(tmp_path, f"{seed} {done}", min(CASES_PER_BOX, CASES - done), next_hop)
        done += more
        kinds |= seen
    refusals = {(code, enhanced) for _, code, enhanced in kinds if code >= 400}
    print(f"{done} letters in {time.monotonic() - begun:.1f} s, {len(kinds)} kinds of answers")
    for kind in sorted(kinds):
        print("  ", *kind)
    assert len(refusals) >= 18, "the letters are not various enough to prove anything"


def test_a_simulator_that_forgets_a_check_is_found_out(
    tmp_path: Path, next_hop: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(Chain):
        def __init__(self, rules: Rules, watch: Watch | None = None) -> None:
            super().__init__(rules, watch)
            kept = [c for c in self._checks[Stage.RCPT] if c.judge is not may_relay]
            self._checks[Stage.RCPT] = tuple(kept)

    monkeypatch.setattr(simulator, "Chain", Forgetful)
    with pytest.raises(AssertionError, match="seed 'forgetful'"):
        compare(tmp_path, "forgetful", 50, next_hop)


GREYLISTING = {
    "filter.greylist": True,
    "filter.check_spf": True,
    "filter.check_sender_domain": True,
    "filter.dnsbl": True,
    "filter.dnsbl_zones": [mail_cases.ZONE, "dead.example"],
}


def everything_kept(box: RelayBox) -> list[object]:
    """What a letter could leave behind."""
    tools, memories, shop = box.shop.tools, box.memories, box.shop
    return [
        dict(shop.counters),
        {station: shop.tally.of(station) for station in Station},
        len(tools.sender_domains),
        len(tools.spf_results),
        len(tools.dmarc_results),
        dict(memories.greylist._changed),
        dict(memories.correspondents._changed),
        dict(memories.answers._changed),
        {zone: repr(state) for zone, state in memories.block_lists._health._zones.items()},
        len(memories.block_lists._kept),
        box.run(shop.spool.look(queries.totals)),
        box.run(shop.spool.look(lambda db: list(db.iterdump()))),
        list(box.log),
    ]


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    question = Question(
        client="127.1.2.3",
        mail_from="a@news.example",
        recipients=("x@example.org", "x@elsewhere.example"),
        message=b"From: a@news.example\r\n\r\nx\r\n",
    )
    with RelayBox(tmp_path, GREYLISTING, resolver=mail_cases.resolver(), deliver=False) as box:
        before = everything_kept(box)
        outcomes = [box.run(simulate(box.shop, question)) for _ in range(2)]
        clean = [box.run(simulate(box.shop, replace(question, client=ip))) for ip in ("127.9.9.9",)]
        assert everything_kept(box) == before
        with SmtpClient("127.0.0.1", box.port(), source="127.9.9.9") as client:
            client.hello()
            assert client.envelope(question.mail_from, question.recipients[:1]).code == 450
        assert everything_kept(box) != before
    assert [outcome.deciding.check for outcome in outcomes if outcome.deciding] == [
        "relay_access", "relay_access",
    ]  # fmt: skip
    rcpt = clean[0].turns[3]
    assert (rcpt.reply.code, rcpt.reply.enhanced) == (450, "4.7.1")
    assert [word.station for word in rcpt.words][-2:] == [Station.SPF, Station.GREYLIST]


def test_each_tool_is_either_shared_on_purpose_or_a_view(tmp_path: Path) -> None:
    shared = {"resolver", "clock", "heavy", "correspondents", "srs_secret"}
    with RelayBox(tmp_path, accounts={"anna": PASSWORD}, deliver=False) as box:
        views, live = observers.tools_of(box.shop), box.shop.tools
        for tool in fields(Tools):
            mine, theirs = getattr(views, tool.name), getattr(live, tool.name)
            assert (mine is theirs) is (tool.name in shared or theirs is None), tool.name


def test_it_names_the_entry_that_decides_and_where_the_mail_goes(tmp_path: Path) -> None:
    wanted = {
        "senders.forbidden": ["evil.example # sold us a fridge"],
        "senders.permitted": ["127.5.0.0/16"],
        "rules.aliases": ["info@example.org: x@example.org, y@elsewhere.example"],
    }
    with RelayBox(tmp_path, wanted, deliver=False) as box:

        def asked(sender: str, ip: str = "127.5.0.1") -> simulator.Outcome:
            return box.run(simulate(box.shop, Question(ip, sender, ("info@example.org",))))

        refused, taken = asked("x@evil.example"), asked("x@good.example")
    assert refused.deciding is not None
    assert refused.deciding.station is Station.SENDER
    assert "“evil.example” (sold us a fridge) is forbidden" in refused.deciding.why
    assert not refused.taken
    assert taken.taken
    assert [to for to, _ in taken.ways] == ["x@example.org", "y@elsewhere.example"]
    notes = [word for turn in taken.turns for word in turn.words if word.told is Told.NOTE]
    assert any("127.5.0.0/16" in word.why for word in notes)
    spared = [w.station for t in taken.turns for w in t.words if w.told is Told.NOT_ASKED]
    assert not spared  # nothing that a permitted sender is spared is on


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"ip": "nobody"}, "no IP address"),
        ({"recipients": []}, "to whom"),
        ({"recipients": ["x\ny"]}, "to whom"),
        ({"mail_from": "a\r\nb"}, "character"),
        ({"port": "25"}, "no port"),
        ({"message": "***"}, "cannot be read"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(args: dict[str, object], says: str) -> None:
    whole = {"ip": "192.0.2.7", "mail_from": "a@b.example", "recipients": ["x@example.com"], **args}
    with pytest.raises(Refused) as caught:
        question_of(whole)
    assert says in caught.value.finding.say
