"""The pages that a newcomer reads first are easy to read."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, TUTORIALS, prose

README = ROOT / "README.md"
FIRST = [README, ROOT / "docs" / "index.md", *TUTORIALS]
each_page = pytest.mark.parametrize("page", FIRST, ids=lambda p: p.relative_to(ROOT).as_posix())


def words(sentence: str) -> list[str]:
    return re.findall(r"[A-Za-z][A-Za-z'-]*", sentence)


def syllables(word: str) -> int:
    """About how many: groups of vowels, without a silent e."""
    word = re.sub(r"(?<![aeiouyl])e$|(?<=[^td])ed$", "", word.lower().replace("'", ""))
    return max(1, len(re.findall(r"[aeiouy]+", word)))


def reading_ease(sentences: list[str]) -> float:
    """Return Flesch's reading ease (1948): 60 to 70 is plain English."""
    every_word = [word for sentence in sentences for word in words(sentence)]
    per_sentence = len(every_word) / len(sentences)
    per_word = sum(map(syllables, every_word)) / len(every_word)
    return 206.835 - 1.015 * per_sentence - 84.6 * per_word


@each_page
def test_no_sentence_is_longer_than_thirty_words(page: Path) -> None:
    long = [sentence for sentence in prose(page) if len(sentence.split()) > 30]
    assert not long, long


@each_page
def test_it_is_plain_english(page: Path) -> None:
    assert reading_ease(prose(page)) >= 50


def test_the_readme_is_short() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    assert len(text.encode()) <= 8192


def test_reading_ease_tells_plain_from_dense() -> None:
    assert reading_ease(["The cat sat on the mat."]) > 100
    assert (
        reading_ease(["Heterogeneous infrastructure necessitates administrative coordination."]) < 0
    )
