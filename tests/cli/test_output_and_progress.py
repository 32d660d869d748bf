import io

import pytest

from outrider.cli.output import human_age, print_table
from outrider.cli.progress import Progress

AGES = {
    0: "0s",
    59: "59s",
    60: "1m",
    61: "1m1s",
    599: "9m59s",
    600: "10m",
    3600: "1h",
    11100: "3h5m",
    86400: "1d",
    90000: "1d1h",
    10 * 86400 + 3600: "10d",
}


@pytest.mark.parametrize(("seconds", "text"), AGES.items())
def test_ages_read_as_kubectl_prints_them(seconds, text) -> None:
    assert human_age(seconds) == text


def test_an_unknown_age_says_so() -> None:
    assert human_age(None) == "<unknown>"


def test_table_cells_are_aligned_and_never_empty(capsys) -> None:
    print_table(["NAME", "X"], [["a", ""], ["longer", "1"]])
    assert capsys.readouterr().out == "NAME     X\na        -\nlonger   1\n"


def test_off_a_terminal_progress_is_a_line_for_every_change() -> None:
    now = [0.0]
    stream = io.StringIO()
    with Progress(stream=stream, now=lambda: now[0]) as progress:
        for second, message in enumerate(["0/2 ready", "0/2 ready", "1/2 ready"]):
            now[0] = float(second)
            progress.show(message)
    assert stream.getvalue() == "   0.0s  0/2 ready\n   2.0s  1/2 ready\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_progress_never_wraps_and_always_shows_the_seconds() -> None:
    now = [0.0]
    stream = Terminal()
    with Progress(stream=stream, now=lambda: now[0], columns=lambda: 40) as progress:
        for second in (1, 1000):
            now[0] = float(second)
            progress.show("llama-3.1-8b v1.5.0: 0/2 ready, Degraded: it does not start: CrashLoopBackOff")
    drawn = stream.getvalue().split("\r")
    assert max(map(len, drawn)) < 40
    assert drawn[1].endswith("... (1s)")
    assert drawn[2].endswith("... (1000s)")


def test_on_a_terminal_progress_is_one_line_that_is_removed_at_the_end() -> None:
    stream = Terminal()
    with Progress(stream=stream, now=lambda: 0.0) as progress:
        progress.show("a long message")
        progress.show("short")
    assert stream.getvalue().endswith("\r")
    assert "\n" not in stream.getvalue()


def test_quiet_progress_prints_nothing() -> None:
    stream = io.StringIO()
    with Progress(quiet=True, stream=stream) as progress:
        progress.show("x")
        progress.done("y")
    assert stream.getvalue() == ""
