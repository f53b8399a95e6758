"""A cluster's token lets its reader run code there, so only its owner may read the file."""

from pathlib import Path

import pytest

from orchestrator.executors import address
from tombola.errors import TombolaError

ELSEWHERE = address.parse("192.0.2.1:6379")


@pytest.fixture(params=["at home", "named"])
def token(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file in which Ray looks for a token, readable by its owner only."""
    path = tmp_path / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text("t" * 64)
    path.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    if request.param == "named":
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_token_of_its_owner_alone_is_taken(token: Path, mode: int) -> None:
    token.chmod(mode)
    address.require_token(ELSEWHERE)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o622, 0o777])
def test_a_token_that_others_can_read_or_replace_is_refused_with_the_cure(
    token: Path, mode: int
) -> None:
    token.chmod(mode)
    with pytest.raises(TombolaError, match=f"has mode 0{mode:o}.*: chmod 600 ") as refused:
        address.require_token(ELSEWHERE)
    assert str(token) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_token_that_is_in_no_file_has_no_mode(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "t" * 64)
    address.require_token(ELSEWHERE)


def test_no_token_is_needed_where_nobody_else_is_joined(token: Path) -> None:
    token.chmod(0o644)
    address.require_token(address.parse("127.0.0.1:6379"))
