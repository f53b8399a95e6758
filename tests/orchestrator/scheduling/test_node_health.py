"""Circuit breakers as stories: how tasks end on nodes, and the verdicts on the nodes."""

from orchestrator.scheduling.node_health import STREAK, Cleared, Fenced, Fuses, Suspected


def fail(fuses: Fuses, node: str, *keys: str) -> object:
    verdict = None
    for key in keys:
        verdict = fuses.note(node, key, failed=True, final=True)
    return verdict


FIRST = tuple(f"task{number}" for number in range(STREAK))


def test_a_node_on_which_different_tasks_fail_in_a_row_is_suspected() -> None:
    fuses = Fuses()
    assert fail(fuses, "bad", *FIRST[:-1]) is None
    assert fail(fuses, "bad", FIRST[-1]) == Suspected("bad", FIRST[0])
    assert fuses.avoided == {"bad"}


def test_a_success_between_ends_the_row() -> None:
    fuses = Fuses()
    fail(fuses, "node", *FIRST[:-1])
    fuses.note("node", "fine", failed=False, final=False)
    assert fail(fuses, "node", FIRST[-1]) is None


def test_one_task_that_fails_again_and_again_is_no_row() -> None:
    fuses = Fuses()
    for _ in range(3 * STREAK):
        assert fuses.note("node", "same", failed=True, final=False) is None
    assert fail(fuses, "node", *["same"] * STREAK) is None


def test_if_the_task_succeeds_elsewhere_it_was_the_node_and_all_are_tried_again() -> None:
    fuses = Fuses()
    fail(fuses, "bad", *FIRST)
    fuses.note("bad", "late", failed=True, final=True)  # it was on its way already
    verdict = fuses.note("good", FIRST[0], failed=False, final=False)
    assert verdict == Fenced("bad", frozenset({*FIRST, "late"}))
    assert fuses.avoided == {"bad"}


def test_if_it_fails_elsewhere_too_the_node_is_trusted_again() -> None:
    fuses = Fuses()
    fail(fuses, "node", *FIRST)
    assert fuses.note("other", FIRST[0], failed=True, final=True) == Cleared("node")
    assert fuses.avoided == set()
    assert fail(fuses, "node", *FIRST[:-1]) is None


def test_the_only_node_is_taken_as_it_is() -> None:
    fuses = Fuses()
    fail(fuses, "only", *FIRST)
    fuses.trust("only")
    assert fuses.avoided == set()
    assert fuses.note("only", FIRST[0], failed=False, final=False) is None
