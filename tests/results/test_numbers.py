"""Numbers read as people write them."""

import math

import pytest

from results.numbers import brief, compared, count, duration, percent, points, significant, size, tiny


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (percent(0.9734), "97.3 %"),
        (points(-0.0042), "\u22120.4 pt"),
        (points(0.00001), "\u00b10.0 pt"),
        (compared(0.012), "1.2 points more accurate"),
        (compared(-0.0004), "as accurate"),
        (significant(0.012345), "0.0123"),
        (significant(1234.5), "1,234"),
        (significant(math.nan), "n/a"),
        (tiny(3.2e-6), "3.2\u00b710\u207b\u2076"),
        (tiny(0.0), "0"),
        (brief(0.00812), "8.12 \u00b5s"),
        (brief(0.5), "0.500 ms"),
        (count(1_234_567), "1.23 M"),
        (count(2.5e12), "2.50 T"),
        (count(999), "999"),
        (size(13_480), "13.5 kB"),
        (duration(12.34), "12.3 s"),
        (duration(75), "1 min 15 s"),
        (duration(3725), "1 h 2 min"),
    ],
)
def test_numbers_read_as_people_write_them(written, words):
    assert written.replace("\u00a0", " ") == words
