"""`pennypost simulate`: what its text says."""

from __future__ import annotations

from pathlib import Path

from appliance.cli.main import parser
from appliance.cli.simulate import as_text
from appliance.relay.simulator import Question, simulate
from tests.support.relay_box import RelayBox


def test_the_arguments_are_taken_as_written() -> None:
    line = ["simulate", "--ip", "192.0.2.7", "--from", "<>", "--to", "a@b.example", "--json"]
    args = parser().parse_args([*line, "--to", "c@d.example", "--port", "submission"])
    assert args.recipients == ["a@b.example", "c@d.example"]
    assert (args.sender, args.port, args.json) == ("<>", "submission", True)


def test_the_text_names_replies_stations_and_the_end(tmp_path: Path) -> None:
    forbidden = {"senders.forbidden": ["evil.example # a fridge"]}
    with RelayBox(tmp_path, forbidden, deliver=False) as box:
        texts = [
            as_text(
                box.run(
                    simulate(box.shop, Question("192.0.2.7", sender, ("x@example.org",)))
                ).to_json()
            )
            for sender in ("a@evil.example", "a@good.example")
        ]
    assert "MAIL FROM:<a@evil.example>  →  550 5.7.1 Mail from this sender" in texts[0]
    assert " x 4 sender list: forbidden_sender: “evil.example” (a fridge) is forbidden" in texts[0]
    assert "Not taken: station sender list, forbidden_sender." in texts[0]
    assert texts[1].endswith("Taken. It goes to:\n  x@example.org")
