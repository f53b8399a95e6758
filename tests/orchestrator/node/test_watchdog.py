"""A task that hangs is stopped where it hangs, by a timeout or by missing heartbeats."""

import signal
import subprocess
import sys
import textwrap
import time
import traceback

import pytest

from orchestrator.node.watchdog import deadline
from tombola.errors import TaskStalled, TaskTimeout


def test_a_sleep_is_interrupted_and_the_traceback_says_where() -> None:
    with pytest.raises(TaskTimeout, match="limit of 0 s") as caught, deadline(0.05):
        time.sleep(60)
    assert "time.sleep(60)" in "".join(traceback.format_exception(caught.value))
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_loop_is_interrupted() -> None:
    def forever() -> None:
        with deadline(0.05):
            while True:
                pass

    with pytest.raises(TaskTimeout):
        forever()


def test_what_ends_in_time_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with deadline(60):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before
    with deadline(None):
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("limits", ["0.1", "60, 0.1"], ids=["too long", "stands still"])
def test_a_process_that_cannot_be_interrupted_ends_itself_and_says_where_it_was(
    limits: str,
) -> None:
    program = f"""
        import signal
        from orchestrator.node import watchdog
        watchdog.GRACE_SECONDS = 0.2
        with watchdog.deadline({limits}) as pulse:
            pulse.beat()
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            while True:
                pass
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert "<string>" in ended.stderr


def test_what_shows_no_more_sign_of_life_is_interrupted_long_before_its_limit() -> None:
    def stands_still() -> None:
        with deadline(60, 0.05) as it:
            it.beat()
            time.sleep(30)

    with pytest.raises(TaskStalled, match=r"no progress in 0 s \(--stall\)"):
        stands_still()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_beats_put_the_alarm_off_and_what_never_beat_or_rests_is_left_alone() -> None:
    with deadline(6000, 50) as it:
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 5000
        it.beat()
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= 50
        it.rest()
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 5000
        it.beat()
        it._put_off = 0.0  # as if a quarter of the time had passed
        it.beat()
        assert 40 < signal.getitimer(signal.ITIMER_REAL)[0] <= 50
        it._last -= 20  # the beats since then did not put it off
        it.ring(signal.SIGALRM, None)
        assert 20 < signal.getitimer(signal.ITIMER_REAL)[0] <= 30


def test_however_lively_a_task_has_a_limit() -> None:
    def goes_on_for_ever() -> None:
        with deadline(0.1, 60) as it:
            while True:
                it.beat()

    with pytest.raises(TaskTimeout, match="longer than its limit"):
        goes_on_for_ever()


def test_a_pulse_without_a_limit_rings_no_alarm() -> None:
    with deadline(None, 0.001) as it:
        it.beat()
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        it.rest()
