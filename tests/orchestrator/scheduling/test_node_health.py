"""Circuit breakers as stories: how tasks end on nodes, and the verdicts on the nodes."""

from orchestrator.scheduling.node_health import STREAK, CircuitBreakers, Cleared, Fenced, Suspected


def fail(breakers: CircuitBreakers, node: str, *keys: str) -> object:
    verdict = None
    for key in keys:
        verdict = breakers.note(node, key, failed=True, final=True)
    return verdict


FIRST = tuple(f"task{number}" for number in range(STREAK))


def test_a_node_on_which_different_tasks_fail_in_a_row_is_suspected() -> None:
    breakers = CircuitBreakers()
    assert fail(breakers, "bad", *FIRST[:-1]) is None
    assert fail(breakers, "bad", FIRST[-1]) == Suspected("bad", FIRST[0])
    assert breakers.avoided == {"bad"}


def test_a_success_between_ends_the_row() -> None:
    breakers = CircuitBreakers()
    fail(breakers, "node", *FIRST[:-1])
    breakers.note("node", "fine", failed=False, final=False)
    assert fail(breakers, "node", FIRST[-1]) is None


def test_one_task_that_fails_again_and_again_is_no_row() -> None:
    breakers = CircuitBreakers()
    for _ in range(3 * STREAK):
        assert breakers.note("node", "same", failed=True, final=False) is None
    assert fail(breakers, "node", *["same"] * STREAK) is None


def test_if_the_task_succeeds_elsewhere_it_was_the_node_and_all_are_tried_again() -> None:
    breakers = CircuitBreakers()
    fail(breakers, "bad", *FIRST)
    breakers.note("bad", "late", failed=True, final=True)  # it was on its way already
    verdict = breakers.note("good", FIRST[0], failed=False, final=False)
    assert verdict == Fenced("bad", frozenset({*FIRST, "late"}))
    assert breakers.avoided == {"bad"}


def test_if_it_fails_elsewhere_too_the_node_is_trusted_again() -> None:
    breakers = CircuitBreakers()
    fail(breakers, "node", *FIRST)
    assert breakers.note("other", FIRST[0], failed=True, final=True) == Cleared("node")
    assert breakers.avoided == set()
    assert fail(breakers, "node", *FIRST[:-1]) is None


def test_the_only_node_is_taken_as_it_is() -> None:
    breakers = CircuitBreakers()
    fail(breakers, "only", *FIRST)
    breakers.trust("only")
    assert breakers.avoided == set()
    assert breakers.note("only", FIRST[0], failed=False, final=False) is None
