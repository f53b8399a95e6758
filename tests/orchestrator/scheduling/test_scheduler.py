"""The scheduler as stories: events in, commands out. Its invariants are checked each time."""

import heapq
from collections.abc import Callable

import pytest

from orchestrator.scheduling.failures import Failure
from orchestrator.scheduling.graph import Graph, Node
from orchestrator.scheduling.scheduler import (
    PACK_SECONDS,
    PACK_TASKS,
    Cancelled,
    Command,
    Ended,
    Failed,
    Finished,
    GiveUp,
    Lost,
    Paused,
    Resized,
    Resumed,
    Retried,
    Scheduler,
    Start,
    Status,
)


class Story(Scheduler):
    """A scheduler whose invariants are checked after every event."""

    def handle(self, *events: object) -> list[Command]:  # type: ignore[override]
        commands = super().handle(*events)  # type: ignore[arg-type]
        self.validate()
        return commands

    def validate(self) -> None:
        assert self._packs <= self._window
        heap = {entry[-1] for entry in self._ready}
        assert heap == {k for k, s in self.status.items() if s is Status.READY}
        assert self._ready_seconds == pytest.approx(sum(self.nodes[k].seconds for k in heap))
        for key, node in self.nodes.items():
            undone = sum(self.status[need] is not Status.DONE for need in node.needs)
            assert self._unmet[key] == undone
            assert self.attempts[key] <= sum(why.tries for why in Failure)


@pytest.fixture
def long() -> Callable[..., Node]:
    """Build tasks too long to share a pack."""
    return lambda key, *needs, seconds=10.0: Node(key, seconds, needs)


def finish(*keys: str) -> tuple[object, ...]:
    return (*(Finished(key) for key in keys), Ended(keys))


def test_nodes_that_join_are_used_at_once_and_those_that_left_no_more(long) -> None:
    scheduler = Scheduler(Graph([long(f"t{i}") for i in range(9)]), slots=1)
    assert len(scheduler.handle()) == 1
    assert len(scheduler.handle(Resized(4))) == 3
    assert scheduler.handle(Resized(2)) == []
    running = [key for key, status in scheduler.status.items() if status is Status.RUNNING]
    assert scheduler.handle(*finish(running[0])) == []
    assert scheduler.handle(*finish(running[1])) == []
    assert len(scheduler.handle(*finish(running[2]))) == 1


def test_the_head_of_a_chain_goes_before_a_hundred_leaves(long) -> None:
    leaves = [long(f"leaf{i}") for i in range(100)]
    chain = [long("c0"), long("c1", "c0"), long("c2", "c1")]
    story = Story(Graph([*leaves, *chain]), slots=1)
    assert story.handle()[0] == Start(("c0",))
    assert Start(("c1",)) in story.handle(*finish("c0"))


def test_only_a_bounded_number_is_in_flight(long) -> None:
    story = Story(Graph([long(str(i)) for i in range(100)]), slots=4)
    assert len(story.handle()) == 4
    assert len(story.handle(*finish("0"))) == 1
    short = Story(Graph([Node(str(i), PACK_SECONDS) for i in range(100)]), slots=4)
    assert len(short.handle()) == 6


def test_a_long_task_shares_no_pack_since_others_would_wait_for_its_end(long) -> None:
    quick = Node("mask", 0.05)
    story = Story(
        Graph([quick, long("ticket", "mask"), *(long(f"other{i}") for i in range(5))]), slots=3
    )
    commands = story.handle()
    assert Start(("mask",)) in commands
    assert Start(("ticket",)) in story.handle(*finish("mask"))


def test_short_tasks_leave_together_and_long_ones_alone() -> None:
    short = [Node(f"s{i}", 0.1) for i in range(40)]
    story = Story(Graph([*short, Node("long", 30.0)]), slots=1)
    first, second = story.handle()
    assert first == Start(("long",))
    assert 8 <= len(second.keys) <= 12


def test_packs_shrink_near_the_end_to_share_what_is_left() -> None:
    story = Story(Graph([Node(str(i), 0.1) for i in range(4)]), slots=2)
    commands = story.handle()
    assert len(commands) == 3
    assert all(len(command.keys) < 3 for command in commands)


def test_a_pack_has_a_bound_however_short_its_tasks() -> None:
    story = Story(Graph([Node(str(i), 1e-9) for i in range(10 * PACK_TASKS)]), slots=1)
    assert all(len(command.keys) <= PACK_TASKS for command in story.handle())


def test_masks_that_share_a_score_share_a_pack() -> None:
    nodes = [Node(f"{g}{i}", 0.1, group=g) for i in range(5) for g in ("a", "b")]
    story = Story(Graph(nodes), slots=1)
    first = story.handle()[0]
    assert {key[0] for key in first.keys} == {"a"}
    assert len(first.keys) == 5


def test_a_pack_may_hold_a_task_and_what_needs_it() -> None:
    others = [Node(f"o{i}", 0.05) for i in range(20)]
    story = Story(Graph([Node("prune", 0.1), Node("train", 0.1, ("prune",)), *others]), slots=1)
    assert story.handle()[0].keys[:2] == ("prune", "train")


def test_a_failure_blocks_its_descendants_and_nothing_else(long) -> None:
    nodes = [long("a"), long("b", "a"), long("c", "b"), long("other")]
    story = Story(Graph(nodes), slots=1)
    story.handle()
    commands = story.handle(Failed("a"), Ended(("a",)))
    assert GiveUp("b", because="a") in commands
    assert GiveUp("c", because="a") in commands
    story.handle(*finish("other"))
    assert story.finished
    assert story.status["other"] is Status.DONE


def test_what_a_pack_skips_after_a_failure_inside_it_is_blocked() -> None:
    story = Story(Graph([Node("a", 0.1), Node("b", 0.1, ("a",)), Node("c", 5.0)]), slots=1)
    packs = story.handle()
    pack = next(p for p in packs if "a" in p.keys)
    commands = story.handle(Failed("a"), Ended(pack.keys))
    assert GiveUp("b", because="a") in commands


def test_what_was_lost_runs_again_alone() -> None:
    story = Story(Graph([Node(str(i), 0.1) for i in range(8)]), slots=1)
    pack = story.handle()[0]
    assert len(pack.keys) > 1
    commands = story.handle(Lost(pack.keys))
    rest = [c for c in commands if isinstance(c, Start)]
    again = [c for c in rest if set(c.keys) & set(pack.keys)]
    assert all(len(c.keys) == 1 for c in again)


def test_what_a_lost_pack_had_committed_is_not_done_again() -> None:
    story = Story(Graph([Node(str(i), 0.1) for i in range(4)]), slots=1)
    pack = story.handle()[0]
    story.handle(Finished(pack.keys[0]), Lost(pack.keys))
    assert story.status[pack.keys[0]] is Status.DONE
    assert story.attempts[pack.keys[0]] == 1


def test_a_task_that_kills_its_worker_is_given_up_and_blocks_what_needs_it(long) -> None:
    story = Story(Graph([long("poison"), long("child", "poison"), long("fine")]), slots=1)
    story.handle()
    commands: list[Command] = []
    for _ in range(Failure.WORKER_LOST.tries):
        commands = story.handle(Lost(("poison",)))
    assert GiveUp("poison") in commands
    assert GiveUp("child", because="poison") in commands
    story.handle(*finish("fine"))
    assert story.finished


def test_a_result_that_arrives_twice_changes_nothing(long) -> None:
    story = Story(Graph([long("a"), long("b", "a")]), slots=1)
    story.handle()
    story.handle(*finish("a"))
    before = dict(story.status)
    story.handle(Finished("a"))
    assert story.status == before


def test_an_empty_plan_is_finished_at_once() -> None:
    story = Story(Graph([]), slots=2)
    assert story.handle() == []
    assert story.finished


@pytest.mark.parametrize("why", Failure, ids=lambda why: why.word)
def test_each_class_of_failure_has_its_own_tries(why: Failure) -> None:
    story = Story(Graph([Node("a", 10.0), Node("child", 1.0, ("a",))]), slots=1)
    [start] = story.handle()
    for _ in range(why.tries - 1):
        assert start == Start(("a",))
        [start] = story.handle(Failed("a", why), Ended(("a",)))
    last = story.handle(Failed("a", why), Ended(("a",)))
    assert last == [GiveUp("a"), GiveUp("child", because="a")]
    assert story.finished


def test_a_node_that_is_lost_does_not_use_up_the_tries_of_a_timeout(long) -> None:
    story = Story(Graph([long("a")]), slots=1)
    story.handle()
    for _ in range(5):
        assert story.handle(Lost(("a",), Failure.NODE_LOST)) == [Start(("a",))]
    assert story.handle(Failed("a", Failure.TIMEOUT), Ended(("a",))) == [Start(("a",))]
    assert story.handle(Failed("a", Failure.TIMEOUT), Ended(("a",))) == [GiveUp("a")]


def test_what_failed_once_runs_alone_the_next_time() -> None:
    story = Story(Graph([Node(str(i), 0.1) for i in range(40)]), slots=1)
    commands = story.handle()
    first = commands[0].keys
    again = story.handle(Failed(first[0], Failure.OUT_OF_MEMORY), Ended(first[:1]))
    later: list[Command] = [*commands[1:], *again]
    while Start((first[0],)) not in later:
        flying = next(c for c in later if isinstance(c, Start))
        later = [c for c in later if c is not flying]
        later += story.handle(*finish(*flying.keys))


# ---------------------------------------------------------------- what people ask for


def these(*keys: str) -> frozenset[str]:
    return frozenset(keys)


def test_what_is_cancelled_is_not_started_and_what_runs_may_end(long) -> None:
    story = Story(Graph([long("a"), long("b", "a"), long("c", "b"), long("other")]), slots=1)
    assert story.handle() == [Start(("a",))]
    assert story.handle(Cancelled(these("a", "b", "c"))) == []
    assert story.handle(*finish("a")) == [Start(("other",))]
    story.handle(*finish("other"))
    assert story.finished
    assert [story.status[key] for key in "abc"] == [
        Status.DONE,
        Status.CANCELLED,
        Status.CANCELLED,
    ]


def test_what_was_cancelled_goes_on_when_it_is_asked_for_again(long) -> None:
    story = Story(Graph([long("a"), long("b", "a")]), slots=1)
    story.handle()
    story.handle(Cancelled(these("b")))
    story.handle(*finish("a"))
    assert story.finished
    assert story.handle(Retried(these("a", "b"))) == [Start(("b",))]


def test_a_paused_task_waits_and_a_launch_with_one_is_not_over(long) -> None:
    story = Story(Graph([long("a"), long("b", "a"), long("other")]), slots=1)
    story.handle()
    assert story.handle(Paused(these("a", "b"))) == []
    assert story.handle(*finish("a")) == [Start(("other",))]
    assert story.handle(*finish("other")) == []
    assert not story.finished
    assert story.handle(Resumed(these("a", "b"))) == [Start(("b",))]
    story.handle(*finish("b"))
    assert story.finished


def test_a_pack_takes_no_paused_task_along(long) -> None:
    others = [Node(f"o{i}", 0.05) for i in range(20)]
    nodes = [long("first"), Node("prune", 0.1, ("first",)), Node("train", 0.1, ("prune",)), *others]
    story = Story(Graph(nodes), slots=1)
    story.handle(Paused(these("train")))
    packs = [c for c in story.handle(*finish("first")) if isinstance(c, Start)]
    assert any("prune" in pack.keys for pack in packs)
    assert not any("train" in pack.keys for pack in packs)


def test_what_failed_gets_its_tries_again_and_frees_what_it_alone_blocked(long) -> None:
    nodes = [long("a"), long("b"), long("child", "a"), long("both", "a", "b")]
    story = Story(Graph(nodes), slots=2)
    story.handle()
    story.handle(Failed("a"), Ended(("a",)), Failed("b"), Ended(("b",)))
    assert story.finished
    assert story.handle(Retried(these("a"))) == [Start(("a",))]
    assert story.status["child"] is Status.WAITING
    assert story.status["both"] is Status.BLOCKED
    assert story.handle(*finish("a")) == [Start(("child",))]
    story.handle(*finish("child"))
    assert story.finished


def test_a_task_without_memory_gets_twice_the_share_until_it_has_the_device(long) -> None:
    story = Story(Graph([long("a")]), slots=8, widest=4)
    widths = []
    commands = story.handle()
    while isinstance(commands[0], Start):
        widths.append(commands[0].width)
        commands = story.handle(Failed("a", Failure.OUT_OF_MEMORY), Ended(("a",)))
    assert widths == [1, 2, 4, 4]
    assert commands == [GiveUp("a")]


def played(chains: int, nodes: int, *, told: bool) -> tuple[float, float]:
    """Play IMP chains on nodes of one slot; return the end and the share of near tasks.

    A task is near if it runs on the node that made its input. A pack goes to the node it is
    near to if that is free, as executors do.
    """
    tasks = [Node(f"run {c} 0", 30.0) for c in range(chains)]
    for level in range(1, 8):
        for c in range(chains):
            tasks.append(Node(f"mask {c} {level}", 0.125, (f"run {c} {level - 1}",)))
            tasks.append(Node(f"run {c} {level}", 30.0, (f"mask {c} {level}",)))
    story = Story(Graph(tasks), slots=nodes)
    free, made, near = [str(n) for n in range(nodes)], {}, []
    queue, running, now = list(story.handle()), [], 0.0
    while queue or running:
        while queue and free:
            pack = next((p for p in queue if p.near in free), queue[0])
            queue.remove(pack)
            node = pack.near if pack.near in free else free[0]
            free.remove(node)
            near += [made[n] == node for n in story.nodes[pack.keys[0]].needs]
            made |= dict.fromkeys(pack.keys, node)
            seconds = sum(story.nodes[key].seconds for key in pack.keys)
            heapq.heappush(running, (now + seconds, int(node), pack.keys))
        now, number, keys = heapq.heappop(running)
        free.append(str(number))
        where = str(number) if told else ""
        queue += story.handle(*(Finished(k, where) for k in keys), Ended(keys, where))
    assert story.finished
    return now, sum(near) / len(near)


def test_of_what_is_as_urgent_a_free_node_gets_what_it_made_itself_and_nothing_waits() -> None:
    for chains, nodes, least in ((1, 4, 1.0), (8, 8, 1.0), (8, 2, 0.9), (24, 4, 0.9)):
        end, near = played(chains, nodes, told=True)
        untold_end, untold = played(chains, nodes, told=False)
        assert end <= untold_end * 1.001
        assert near >= max(least, untold)


def test_what_is_more_urgent_goes_first_wherever_it_was_made(long) -> None:
    chains = [long("a0"), long("a1", "a0"), long("b0"), long("b1", "b0"), long("b2", "b1")]
    story = Story(Graph(chains), slots=1)
    assert story.handle() == [Start(("b0",))]
    alike = story.handle(Finished("b0", "x"), Ended(("b0",), "x"))
    assert alike == [Start(("b1",), near="x")], "not a0, which is as urgent"
    less = story.handle(Finished("b1", "x"), Ended(("b1",), "x"))
    assert less == [Start(("a0",))], "not b2, which is near"
