"""A user's code: what its key depends on, how it is found and imported."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.values import user_code

OWN = """
import os
from functools import partial

import blocks
import package.parts as parts
from helper import WIDTH, make as build
from torch import nn

TABLE = {"a": 1}
UNUSED = 5
BASE = partial(dict, x=1)


class Layer(nn.Module):
    size = 4

    def forward(self, x):
        '''Says what it does.'''
        return x * TABLE["a"] * self.size


def net(network, depth: int = 2):
    '''Build it.'''
    layers = [Layer() for _ in range(depth)]
    return build(layers, WIDTH, blocks.gate, parts.join, BASE)


def other(network):
    return blocks.lonely(network)


net.note = "x"
"""
FILES = {
    "own.py": OWN,
    "helper.py": """
from deeper import scale

WIDTH = 16


def make(*a):
    return scale(a)


def idle():
    return 3
""",
    "deeper.py": "def scale(a, by=2):\n    return [by, *a]\n",
    "blocks.py": "def gate():\n    return 1\n\n\ndef lonely(n):\n    return 2\n",
    "package/__init__.py": "FLAG = True\n",
    "package/parts.py": "from . import glue\n\n\ndef join():\n    return glue.stick()\n",
    "package/glue.py": "def stick():\n    return 'glue'\n\n\ndef peel():\n    return 'peel'\n",
}

# what is edited: (file, before, after)
OTHER_WORK = {
    "its own body": ("own.py", "range(depth)", "range(depth + 1)"),
    "a default": ("own.py", "depth: int = 2", "depth: int = 3"),
    "an attribute of it": ("own.py", 'net.note = "x"', 'net.note = "y"'),
    "a class that it uses": ("own.py", "size = 4", "size = 5"),
    "a table that the class uses": ("own.py", '{"a": 1}', '{"a": 2}'),
    "a value made by a call": ("own.py", "x=1", "x=2"),
    "which name is imported": ("own.py", "make as build", "idle as build"),
    "which package it is from": ("own.py", "from torch import nn", "from torch.ao import nn"),
    "a constant of another file": ("helper.py", "WIDTH = 16", "WIDTH = 48"),
    "a function of another file": ("helper.py", "return scale(a)", "return scale(a[1:])"),
    "a file imported by that one": ("deeper.py", "by=2", "by=3"),
    "a function named through its module": ("blocks.py", "return 1", "return 7"),
    "a function two packages down": ("package/glue.py", "'glue'", "'paste'"),
    "what acts when it is imported": ("own.py", "\nUNUSED", "\nos.environ['A'] = '1'\nUNUSED"),
    "what acts in another file": ("helper.py", "\nWIDTH", "\nprint('hello')\nWIDTH"),
    "a registry": ("blocks.py", "def lonely", "@print\ndef lonely"),
}
SAME_WORK = {
    "a comment": ("own.py", "TABLE =", "# a comment\nTABLE ="),
    "a comment in another file": ("helper.py", "WIDTH = 16", "WIDTH = 16  # wide"),
    "a docstring": ("own.py", "'''Build it.'''", "'''Build all of it.'''"),
    "no docstring": ("own.py", "        '''Says what it does.'''\n", ""),
    "layout": ("own.py", "return x * TABLE", "return (\n            x\n        ) * TABLE"),
    "another function": ("own.py", "def other", "def more():\n    return 1\n\n\ndef other"),
    "another function's body": ("own.py", "blocks.lonely(network)", "None"),
    "another constant": ("own.py", "UNUSED = 5", "UNUSED = 6"),
    "another class": ("own.py", "class Layer", "class Extra:\n    x = 1\n\n\nclass Layer"),
    "an idle function elsewhere": ("helper.py", "return 3", "return 4"),
    "what nothing uses of a module": ("blocks.py", "return 2", "return 3"),
    "what nothing uses of a package": ("package/glue.py", "'peel'", "'tear'"),
    "a constant of a package": ("package/__init__.py", "FLAG = True", "FLAG = False"),
    "what a script does": (
        "own.py",
        "net.note",
        "if __name__ == '__main__':\n    net(0)\nnet.note",
    ),
    "an unused import": ("own.py", "import os", "import json\nimport os"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def edit(folder: Path, file: str, before: str, after: str) -> None:
    text = (folder / file).read_text()
    assert text.count(before) == 1, f"{before!r} stands in {file} {text.count(before)} times"
    (folder / file).write_text(text.replace(before, after))


@pytest.mark.parametrize("what", OTHER_WORK)
def test_what_a_result_depends_on_is_in_the_key(folder: Path, what: str) -> None:
    before = user_code.digest("own:net")
    edit(folder, *OTHER_WORK[what])
    assert user_code.digest("own:net") != before


@pytest.mark.parametrize("what", SAME_WORK)
def test_what_it_does_not_depend_on_is_not(folder: Path, what: str) -> None:
    before = user_code.digest("own:net")
    edit(folder, *SAME_WORK[what])
    assert user_code.digest("own:net") == before


def test_nothing_is_run_for_it(folder: Path) -> None:
    (folder / "own.py").write_text("raise SystemExit('it was run')\n" + OWN)
    user_code.digest("own:net")
    user_code.check("own:net", "network")
    assert user_code.options("own:net", "network", {"depth": 3}) == {"depth": 3}


# code whose text does not say what it reaches: any edit of what may be meant counts
OPAQUE = {
    "getattr": ("import helper\n", "getattr(helper, 'id' + 'le')()"),
    "a table of the module": ("import helper\n", "vars(helper)['idle']()"),
    "a module handed on": ("import helper\n", "apply(helper)"),
    "the module by another name": ("import helper\nhere = helper\n", "here.idle()"),
    "a star": ("from helper import *\n", "idle()"),
    "a star of a star": ("from between import *\n", "idle()"),
    "importlib": ("import importlib\nimport helper\n", "importlib.import_module('helper').idle()"),
    "import_module": ("from importlib import import_module\nimport helper\n", "import_module('h')"),
    "globals": ("from helper import idle\n", "globals()['idle']()"),
    "sys.modules": ("import sys, helper\n", "sys.modules['helper'].idle()"),
    "exec": ("from helper import idle\n", "exec('idle()')"),
    "a table filled by subclasses": (
        "from helper import Base\nimport kinds\n",
        "Base.known['Kind']().value",
    ),
}
HELPER = """
class Base:
    known = {}

    def __init_subclass__(cls):
        Base.known[cls.__name__] = cls


def idle():
    return 3
"""


@pytest.mark.parametrize("what", OPAQUE)
def test_where_the_text_does_not_say_what_is_reached_all_of_it_counts(
    folder: Path, what: str
) -> None:
    head, body = OPAQUE[what]
    (folder / "own.py").write_text(f"{head}\n\ndef net(network):\n    return {body}\n")
    (folder / "between.py").write_text("from helper import *\n")
    (folder / "kinds.py").write_text("import helper\n\n\nclass Kind(helper.Base):\n    value = 3\n")
    (folder / "helper.py").write_text(HELPER)
    file = "kinds.py" if "kinds" in head else "helper.py"
    before = user_code.digest("own:net")
    edit(folder, file, " 3\n", " 4\n")
    assert user_code.digest("own:net") != before


def test_decorators_may_register_what_a_table_gives(folder: Path) -> None:
    text = """
KINDS = {}


def kind(function):
    KINDS[function.__name__] = function


@kind
def wide():
    return 3


def net(network):
    return KINDS["wide"]()
"""
    (folder / "own.py").write_text(text)
    before = user_code.digest("own:net")
    edit(folder, "own.py", "return 3", "return 4")
    assert user_code.digest("own:net") != before


def test_declared_files_are_in_the_key_and_others_are_named(folder: Path) -> None:
    (folder / "widths.json").write_text("[1]")
    (folder / "data").mkdir()
    (folder / "data" / "a.txt").write_text("a")
    text = "def net(network):\n    return open('widths.json').read()\n"
    (folder / "own.py").write_text(text)
    [line] = user_code.undeclared(["own:net"])
    assert 'net.files = ["widths.json"]' in line
    (folder / "own.py").write_text(text + '\n\nnet.files = ["widths.json", "data"]\n')
    assert user_code.undeclared(["own:net"]) == []
    before = user_code.digest("own:net")
    (folder / "widths.json").write_text("[2, 3]")
    after = user_code.digest("own:net")
    (folder / "data" / "a.txt").write_text("bc")
    assert len({before, after, user_code.digest("own:net")}) == 3
    (folder / "widths.json").unlink()
    with pytest.raises(ValueError, match=r"own.py: files names widths.json, which is not there"):
        user_code.digest("own:net")
    (folder / "own.py").write_text(text + "\n\nnet.files = list(map(str, [1]))\n")
    with pytest.raises(ValueError, match=r"own.py:5: files takes a list of names"):
        user_code.digest("own:net")


def test_other_packages_count_by_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own.py").write_text(
        "import yaml_like\n\n\ndef net(network):\n    return yaml_like\n"
    )
    site = folder / "site-packages"
    (site / "yaml_like-1.0.dist-info").mkdir(parents=True)
    (site / "yaml_like.py").write_text("X = 1\n")
    about = site / "yaml_like-1.0.dist-info"
    (about / "top_level.txt").write_text("yaml_like\n")
    monkeypatch.setattr("tasks.values.user_code.finding._installed_roots", lambda: (site,))
    monkeypatch.syspath_prepend(str(site))
    digests = []
    for version in ("1.0", "1.0", "1.1"):
        (about / "METADATA").write_text(f"Name: yaml-like\nVersion: {version}\n")
        (site / "yaml_like.py").write_text(f"X = {len(digests)}\n")
        user_code._known.clear()
        digests.append(user_code.digest("own:net"))
    assert digests[0] == digests[1] != digests[2]


# ---------------------------------------------------------------- how it is found

TAKEN = [
    "tombola",
    "analysis",
    "tasks",
    "orchestrator",
    "json",
    "random",
    "torch",
    "train",
    "tests",
]


@pytest.mark.parametrize("name", TAKEN)
def test_a_users_file_is_hidden_by_no_module_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"from tasks.values.catalog import DatasetFacts\n\n\ndef mine():\n    return {name!r}\n"
    (tmp_path / f"{name}.py").write_text(text)
    before = sys.modules.get(name)
    assert user_code.call(f"{name}:mine") == name
    assert user_code.file(f"{name}:mine") == tmp_path / f"{name}.py"
    assert sys.modules.get(name) is before


def test_files_import_each_other_whatever_they_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(
        "import random\nfrom analysis import depth\nfrom models.kinds import Kind\n\n\n"
        "def net():\n    import json\n    return depth, Kind.size, random.mine, json.mine\n"
    )
    (tmp_path / "analysis.py").write_text("depth = 3\n")
    (tmp_path / "random.py").write_text("mine = 'random'\n")
    (tmp_path / "json.py").write_text("mine = 'json'\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "kinds.py").write_text(
        "from .sizes import size\n\n\nclass Kind:\n    size = size\n"
    )
    (tmp_path / "models" / "sizes.py").write_text("size = 7\n")
    assert user_code.call("own:net") == (3, 7, "random", "json")
    import json
    import random

    assert not hasattr(random, "mine")
    assert not hasattr(json, "mine")
    before = user_code.digest("own:net")
    edit(tmp_path, "models/sizes.py", "7", "8")
    assert user_code.digest("own:net") != before


def test_an_edited_file_is_imported_anew_and_work_planned_before_is_refused(folder: Path) -> None:
    text = "from helper import WIDTH\n\n\ndef score():\n    return WIDTH\n"
    (folder / "own.py").write_text(text)
    planned = user_code.digest("own:score")
    assert user_code.call("own:score", source=planned) == 16
    edit(folder, "helper.py", "WIDTH = 16", "WIDTH = 48")
    assert user_code.call("own:score") == 48
    assert user_code.call("own:score", source=planned) == 16, "what was planned goes on as planned"
    user_code._functions.clear()  # another process
    with pytest.raises(user_code.OwnError, match="was edited after this was planned"):
        user_code.call("own:score", source=planned)


@pytest.mark.parametrize(
    ("name", "use", "message"),
    [
        ("own:nett", "network", "own.py has no function 'nett'; did you mean net?"),
        ("nowhere:net", "network", "no module 'nowhere'"),
        ("package.gone:net", "network", "no module 'package.gone'"),
        ("own:", "network", "is named module:function"),
        (":net", "network", "is named module:function"),
        ("own..x:net", "network", "no module 'own..x'"),
        ("own:net", "score", "own:net takes 2 arguments; a score is called with (module, weights"),
        ("own:Bare", "network", "own:Bare takes no argument; a network is called with (network)"),
        ("broken:net", "network", "broken.py:2: "),
        ("bytes:net", "network", "bytes.py"),
    ],
)
def test_names_that_mean_nothing_are_refused_by_their_text(
    folder: Path, name: str, use: Any, message: str
) -> None:
    more = "\n\nclass Bare(Layer):\n    def __init__(self):\n        super().__init__()\n"
    (folder / "own.py").write_text("raise SystemExit('it was run')\n" + OWN + more)
    (folder / "broken.py").write_text("def net(network):\n    return (\n")
    (folder / "bytes.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r".") as caught:
        user_code.check(name, use)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reexported_functions_and_classes_are_found_and_called(folder: Path) -> None:
    (folder / "face.py").write_text("from inner import Net, net as alias\n")
    (folder / "inner.py").write_text(
        "class Base:\n    def __init__(self, network, depth=1):\n        self.depth = depth\n\n\n"
        "class Net(Base):\n    pass\n\n\ndef net(network, *, width: float = 1):\n    return width\n"
    )
    assert user_code.options("face:Net", "network", {"depth": 4}) == {"depth": 4}
    assert user_code.options("face:alias", "network", {"width": 4}) == {"width": 4.0}
    assert user_code.call("face:Net", None, options=(("depth", "4"),)).depth == 4


# ---------------------------------------------------------------- options

SIGNATURE = """
from typing import Literal, Optional


def f(network, depth: int, alpha: float = 1, on=True, kind: Literal["a", "b"] = "a",
      name="x", limit: int | None = None, rate: "Optional[float]" = None, free=None):
    return locals()


def g(network, **options):
    return options


h = f
"""


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        ({"depth": 3}, {"depth": 3}),
        ({"depth": 3.0}, {"depth": 3}),
        ({"depth": "3"}, {"depth": 3}),
        ({"depth": 1, "alpha": 2}, {"depth": 1, "alpha": 2.0}),
        ({"depth": 1, "alpha": "1e-3"}, {"depth": 1, "alpha": 0.001}),
        ({"depth": 1, "alpha": 0.1 + 0.2}, {"depth": 1, "alpha": 0.3}),
        ({"depth": 1, "on": False}, {"depth": 1, "on": False}),
        ({"depth": 1, "kind": "b"}, {"depth": 1, "kind": "b"}),
        ({"depth": 1, "limit": None}, {"depth": 1, "limit": None}),
        ({"depth": 1, "rate": 2}, {"depth": 1, "rate": 2.0}),
        ({"depth": 1, "free": "t"}, {"depth": 1, "free": "t"}),
        ({"depth": 1, "free": 1.5}, {"depth": 1, "free": 1.5}),
    ],
)
def test_options_have_the_types_of_the_signature(
    folder: Path, given: dict[str, Any], typed: dict[str, Any]
) -> None:
    (folder / "own.py").write_text(SIGNATURE)
    found = user_code.options("own:f", "network", given)
    assert found == typed
    assert {n: type(v) for n, v in found.items()} == {n: type(v) for n, v in typed.items()}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "own:f takes depth, which has no default"),
        ({"depth": 2.5}, "depth takes a whole number, not 2.5"),
        ({"depth": "two"}, "depth takes a whole number"),
        ({"depth": True}, "depth takes a whole number"),
        ({"depth": 1, "alpha": "x"}, "alpha takes a number"),
        ({"depth": 1, "alpha": float("nan")}, "alpha takes a number"),
        ({"depth": 1, "on": 1}, "on takes true or false"),
        ({"depth": 1, "kind": "c"}, "kind takes one of a, b"),
        ({"depth": 1, "name": 3}, "name takes text"),
        ({"depth": 1, "alhpa": 3}, "has no option 'alhpa'; did you mean alpha?"),
        ({"depth": 1, "network": 3}, "has no option 'network'"),
        ({"depth": 1, "free": {"a": 1}}, "free takes a plain value"),
    ],
)
def test_wrong_options_are_refused(folder: Path, given: dict[str, Any], message: str) -> None:
    (folder / "own.py").write_text(SIGNATURE)
    with pytest.raises(ValueError, match=r".") as caught:
        user_code.options("own:f", "network", given)
    assert message in str(caught.value)


def test_a_default_that_is_said_is_the_default(folder: Path) -> None:
    (folder / "own.py").write_text(SIGNATURE)
    said = user_code.options("own:f", "network", {"depth": 1, "alpha": 1, "on": True, "kind": "b"})
    assert said["alpha"] == 1.0
    assert user_code.written("own:f", "network", said) == (("depth", "1"), ("kind", '"b"'))
    assert user_code.options("own:g", "network", {"any": 3}) == {"any": 3}


# ---------------------------------------------------------------- whose fault it is

RAISING: dict[str, Callable[[], BaseException]] = {
    "open('gone')": FileNotFoundError,
    "raise OSError(28, 'No space left')": OSError,
    "raise SystemExit(3)": SystemExit,
    "raise KeyError('x')": KeyError,
    "raise type('Stop', (BaseException,), {})()": BaseException,
    "raise GeneratorExit": GeneratorExit,
}


@pytest.mark.parametrize("line", RAISING)
@pytest.mark.parametrize("when", ["imported", "called", "used later"])
def test_errors_of_a_users_code_are_known_as_the_users(folder: Path, line: str, when: str) -> None:
    where = {
        "imported": f"{line}\n\n\ndef net():\n    pass\n",
        "called": f"def net():\n    {line}\n",
        "used later": f"def net():\n    def inner():\n        {line}\n    return inner\n",
    }
    (folder / "own.py").write_text(where[when])
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        user_code.call("own:net")()
    assert user_code.is_users(caught.value)
    if when == "imported":
        assert isinstance(caught.value, user_code.OwnError)
        assert "importing own" in str(caught.value)
        assert "own.py:1" in str(caught.value)
    elif when == "called":
        assert isinstance(caught.value, Exception), "nothing ends the process"


def test_errors_of_others_are_not_the_users(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        (tmp_path / "gone").read_text()
    assert not user_code.is_users(caught.value)
