"""A task that hangs is stopped where it hangs."""

import signal
import subprocess
import sys
import textwrap
import time
import traceback

import pytest

from orchestrator.deadline import TaskTimeout, deadline


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


def test_a_process_that_cannot_be_interrupted_ends_itself_and_says_where_it_was() -> None:
    program = """
        import signal
        from orchestrator import deadline
        deadline.GRACE_SECONDS = 0.2
        with deadline.deadline(0.1):
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
