"""What the user sees while a command works."""

import pytest

from data_prep import progress


def test_silent_without_a_terminal_when_short(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress("writing", 3) as show:
        for done in range(3):
            show(done + 1)
    assert capsys.readouterr() == ("", "")


def test_a_line_now_and_then_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s)
    with progress.progress("writing", 5000) as show, progress.progress("reading", None) as show_without_end:
        show.skip(1000)
        for second in range(1, 45):
            now_s = float(second)
            show(50 * second)
        show_without_end(8800)
        show_without_end.skip(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "writing: 1,000 of 4,000, 50/s, 60 s left",
        "writing: 2,000 of 4,000, 50/s, 40 s left",
        "reading: 8,800, 200/s",
    ]


def test_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with progress.progress("writing", 40) as show:
        show(40)
    err = capsys.readouterr().err
    assert "writing" in err and "40/40" in err


def test_markup_in_names_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    progress.say("[red]/data[/red]: done")
    progress.show_table("t", ("where",), [("[b]x[/b]",)])
    out = capsys.readouterr().out
    assert "[red]/data[/red]: done" in out and "[b]x[/b]" in out
