"""Subprocesses: time limits, failures one can paste, no shell."""

import pytest

from appliance.base.run import CommandFailed, run


def test_output_is_returned_as_bytes() -> None:
    assert run(["cat"], timeout_seconds=10, input=b"\xff").stdout == b"\xff"


def test_a_failure_names_the_program_its_words_and_the_line_to_paste() -> None:
    with pytest.raises(CommandFailed) as failed:
        run(["sh", "-c", "echo 'no such thing' >&2; exit 3"], timeout_seconds=10)
    assert "exit status 3: no such thing" in failed.value.finding.say
    assert "sh -c 'echo" in failed.value.finding.fix


def test_a_program_that_hangs_is_ended() -> None:
    with pytest.raises(CommandFailed, match=r"did not end within 0\.1 seconds"):
        run(["sleep", "60"], timeout_seconds=0.1)


def test_a_missing_program_is_said_to_be_missing() -> None:
    with pytest.raises(CommandFailed, match="is not installed"):
        run(["/nonexistent/program"], timeout_seconds=1)


def test_arguments_are_never_read_by_a_shell() -> None:
    assert run(["echo", "$(id)"], timeout_seconds=10).stdout == b"$(id)\n"
