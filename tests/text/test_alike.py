"""Texts that say the same."""

import pytest

from picdesk.text.alike import said_by


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A dog, running.", "a DOG running"),
        ("Straße", "STRASSE!"),
        ("किताब।", "किताब"),
        ("東京の夜。", "東京の夜"),
        ("I ❤️ NY", "i ny"),
    ],
)
def test_case_and_signs_say_nothing(one: str, other: str) -> None:
    assert said_by(one) == said_by(other)


@pytest.mark.parametrize(
    ("one", "other"), [("दिन", "दान"), ("মা", "মি"), ("தமிழ்", "தமழ்"), ("เที่ยว", "เทียว"), ("❤️", "☀️"), ("a dog", "a god")]
)
def test_vowels_that_are_marks_are_part_of_a_word(one: str, other: str) -> None:
    """The Hindi words for day and gift were one."""
    assert said_by(one) != said_by(other)
