"""Numbers in titles and queries."""

from __future__ import annotations

from math import inf

import pytest

from cmsearch.quantities import Span, number_of, span_of


@pytest.mark.parametrize(
    ("title", "least", "end"),
    [
        ("Body mass index [BMI] 26.0-26.9, adult", 26.0, 27.0),
        ("Body mass index [BMI] 19.9 or less, adult", -inf, 20.0),
        ("Body mass index [BMI] 70 or greater, adult", 70.0, inf),
        ("Blood alcohol level of less than 20 mg/100 ml", -inf, 20.0),
        ("Blood alcohol level of 240 mg/100 ml or more", 240.0, inf),
        ("Extremely low birth weight newborn, 500-749 grams", 500.0, 750.0),
        ("Greater than 42 weeks gestation of pregnancy", 43.0, inf),
        ("NIHSS score 0-9", 0.0, 10.0),
    ],
)
def test_what_numbers_a_title_is_for(title, least, end):
    assert span_of(title) == Span(least, end)


@pytest.mark.parametrize(
    "title",
    [
        "Quadriplegia, C1-C4 complete",
        "2-part displaced fracture of surgical neck of right humerus",
        "Burns involving 90% or more of body surface with 90% or more third degree burns",
        "Type 2 diabetes mellitus",
        "",
    ],
)
def test_titles_without_one_span(title):
    assert span_of(title) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("BMI 16.2", 16.2),
        ("bmi: 16,2", 16.2),
        ("BMI 31.", 31.0),
        ("blood alcohol 220 mg/100 ml", 220.0),
        ("2nd degree burn", None),
        ("fracture of T10", None),
        ("between 20 and 30 weeks", None),
        ("26-27 weeks", None),
        ("asthma", None),
    ],
)
def test_the_number_of_a_query(text, number):
    assert number_of(text) == number


def test_the_edges_of_a_span():
    span = span_of("Body mass index [BMI] 26.0-26.9, adult")
    assert 26.0 in span
    assert 26.95 in span
    assert 25.9 not in span
    assert 27.0 not in span
