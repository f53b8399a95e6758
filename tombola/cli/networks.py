"""Compute the prunable share of a sweep's networks, before anything is scheduled."""

from typing import Any

from orchestrator.sweep import labels
from orchestrator.sweep.fields import patterns
from tasks.networks import counts
from tasks.values import user_code
from tombola.cli import shared
from tombola.errors import SweepError

MOST_SHOWN = 6


def prunable(asked: Any) -> list[tuple[str, str]]:
    """Return rows of the prunable share of each network, and of its parameters, as text.

    User networks, and networks with patterns, are built for it. A network that cannot be built
    on this machine gets a note: the machine that runs the sweep may have what it needs.

    Raises
    ------
    SweepError
        With a line for each network that its patterns do not fit.
    """
    networks = _networks(asked)
    on_several = len({dataset for _, dataset in networks}) > 1
    shares: list[tuple[counts.Share, str]] = []
    problems: list[str] = []
    for network, dataset in networks:
        name = labels.of_network(network) + (f" on {dataset}" if on_several else "")
        try:
            shares.append((counts.share(network) or _built(network, asked.source), name))
        except SweepError as error:
            problems += error.problems
        except user_code.OwnError as error:
            shared.say(f"note: the prunable share of {name} is not known: {error}", err=True)
    if problems:
        raise SweepError(list(dict.fromkeys(problems)))
    rows = [
        (share.percent, f"of {share.parameters:,} parameters of {name}{_rest(share)}")
        for share, name in shares[:MOST_SHOWN]
    ]
    left = len(shares) - len(rows)
    return [*rows, ("", f"and of {left:,} more networks")] if left else rows


def check_patterns(asked: Any) -> None:
    """Refuse patterns of prunable tensors that do not fit their network.

    Raises
    ------
    SweepError
        With a line for each network that its patterns do not fit.
    """
    problems: list[str] = []
    for network, _ in _networks(asked):
        try:
            if network.prunable:
                _built(network, asked.source)
        except SweepError as error:
            problems += error.problems
        except user_code.OwnError:
            continue  # the task reports it on the machine that runs it
    if problems:
        raise SweepError(list(dict.fromkeys(problems)))


def _networks(asked: Any) -> list[tuple[Any, str]]:
    """Return the networks of a sweep and their datasets, in the order of the sweep file."""
    return list({trial.run.network: trial.run.dataset.name for trial in asked.trials}.items())


def _rest(share: counts.Share) -> str:
    return f"; not {share.without}" if share.others else ""


def _built(network: Any, source: Any) -> counts.Share:
    """Return the prunable share of a network, by building it."""
    from tasks.measures import layers
    from tasks.networks.tensors import PatternError

    with user_code.told(f"building {network.name}"):
        try:
            return layers.share(network)
        except PatternError as error:
            problem = f"{_place(network, source)}: {network.name}: {error}"
    raise SweepError([problem])


def _place(network: Any, source: Any) -> str:
    """Return where a sweep file sets the prunable tensors of a network."""
    for loc, place in source.places.items():
        if "prunable" in loc[-2:] and network.name in loc:
            value = source.data
            for step in loc:
                value = value[step]
            if isinstance(value, str) and patterns(value) == network.prunable:
                return str(place)
    return str(source.place(("network",)))
