"""Log files: the end of one, new lines of one, one that has grown too large."""

from __future__ import annotations

from foretopic.log_files import follow, rotate
from foretopic.processes import tail


def test_tail_gives_the_last_lines(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("one\ntwo\nthree\n")
    assert tail(path, lines=2) == "two\nthree"
    assert tail(tmp_path / "missing.log", lines=2) == ""


def test_tail_leaves_out_what_came_before_a_place(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("old\n")
    start = path.stat().st_size
    with path.open("a") as file:
        file.write("new\n")
    assert tail(path, lines=10, after=start) == "new"


class Writer:
    """Writes one text at each wait, then says that it has stopped."""

    def __init__(self, path, clock, texts):
        self.path, self.clock, self.texts = path, clock, list(texts)

    def monotonic(self):
        return self.clock.monotonic()

    def now(self):
        return self.clock.now()

    def sleep(self, seconds):
        self.clock.sleep(seconds)
        if self.texts:
            text = self.texts.pop(0)
            if text is None:
                self.path.write_text("")
            else:
                with self.path.open("a") as file:
                    file.write(text)

    def is_done(self):
        return not self.texts


def test_follow_gives_whole_lines_as_they_come(tmp_path, clock):
    path = tmp_path / "a.log"
    path.write_text("one\ntwo\n")
    writer = Writer(path, clock, ["thr", "ee\nfour\n"])
    assert list(follow(path, lines=1, clock=writer, is_stopped=writer.is_done)) == ["two", "three", "four"]


def test_follow_goes_on_after_the_file_was_cut(tmp_path, clock):
    path = tmp_path / "a.log"
    path.write_text("a long line that was there before\n")
    writer = Writer(path, clock, [None, "new\n"])
    assert list(follow(path, lines=0, clock=writer, is_stopped=writer.is_done)) == ["new"]


def test_follow_waits_for_a_file_that_comes_later(tmp_path, clock):
    path = tmp_path / "a.log"
    writer = Writer(path, clock, ["first\n"])
    assert list(follow(path, lines=5, clock=writer, is_stopped=writer.is_done)) == ["first"]


def test_large_file_is_set_aside_and_its_writer_goes_on(tmp_path):
    path = tmp_path / "a.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        rotate(path, largest_bytes=100)
        writer.write(b"after")
    assert path.read_bytes() == b"after"
    assert (tmp_path / "a.log.1").read_bytes() == b"x" * 100


def test_small_file_stays(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("x")
    rotate(path, largest_bytes=100)
    assert path.read_text() == "x"
