"""What a person sees while a set is captured: bytes of bytes, and first of all the time left."""

from lab.recovery import run


class Told:
    """A run that keeps what its parts tell."""

    def __init__(self):
        self.events = []

    def emit(self, event):
        self.events.append(event)


def test_the_time_left_comes_first_and_a_few_times_a_second(monkeypatch):
    clock, told = [100.0], Told()
    monkeypatch.setattr(run.time, "monotonic", lambda: clock[0])
    part = run.Part(told, "me", "photos")
    part.tell("making the copy whole")
    clock[0] += 500  # says nothing about how fast it will be read
    for n in range(100):
        clock[0] += 0.1
        part.tell("reading", (n + 1) << 20, 200 << 20)
    assert 30 <= len(told.events) <= 60
    last = told.events[-1]
    assert last.total == 200 << 20
    assert 95 << 20 < last.done <= 100 << 20
    assert last.doing in {"10 s left, reading", "11 s left, reading", "9 s left, reading"}
    clock[0] += 1
    part.tell("storing")
    assert told.events[-1].doing == "storing"
