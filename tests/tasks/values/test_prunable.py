"""`prunable:` of a network in a sweep file: patterns in one text, or a list as an axis."""

import pytest

from orchestrator.sweep.fields import NetworkChoice, _network


def test_patterns_are_one_text_and_a_list_is_an_axis() -> None:
    found = _network({"resnet20": {"prunable": ["default, -fc.*", "*.conv1.weight"]}})
    assert [choice.prunable for choice in found] == [("default", "-fc.*"), ("*.conv1.weight",)]
    assert all(isinstance(choice, NetworkChoice) for choice in found)


def test_without_patterns_nothing_is_said() -> None:
    [found] = _network("resnet20")
    assert found.prunable == ()


@pytest.mark.parametrize("value", [3, True, "", "a,,b", "-", "a, -"])
def test_what_is_no_pattern_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="prunable takes patterns"):
        _network({"resnet20": {"prunable": value}})
