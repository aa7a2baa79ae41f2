from xml.etree import ElementTree

import pytest

from agent_gym_env.evaluation.plots import (
    Interval,
    Point,
    Row,
    as_file,
    curve_plot,
    histogram_plot,
    interval_plot,
)

HOSTILE = "<script>alert(1)</script> & \"'"


def marks(svg: str, style: str) -> list[ElementTree.Element]:
    return [each for each in ElementTree.fromstring(svg).iter() if each.get("class") == style]


def x_of(tick: str, svg: str) -> float:
    return next(float(each.get("x", "")) for each in marks(svg, "tick middle") if each.text == tick)


def test_a_dot_marks_the_value_and_the_line_spans_the_interval() -> None:
    svg = interval_plot([Row("all", [Interval(0.5, 0.25, 0.75)])], series=["agent"])
    (dot,), (line,) = marks(svg, "dot"), marks(svg, "whisker")
    assert float(dot.get("cx", "")) == x_of("0.5", svg)
    assert float(line.get("x1", "")) == x_of("0.25", svg)
    assert float(line.get("x2", "")) == x_of("0.75", svg)


def test_every_series_of_every_row_is_drawn_in_its_own_colour() -> None:
    rows = [Row(label, [Interval(0.1, None, None), Interval(0.9, None, None)]) for label in "ab"]
    svg = interval_plot(rows, series=["one", "two"])
    assert len(marks(svg, "s0")) == len(marks(svg, "s1")) == 2


def test_a_value_that_is_not_known_is_said_and_not_drawn() -> None:
    svg = interval_plot([Row("seen", [Interval(None, None, None)])], series=["agent"])
    assert not marks(svg, "dot")
    assert [each.text for each in marks(svg, "value end")] == ["none"]


def test_a_difference_is_written_with_its_sign_against_a_line_at_zero() -> None:
    row = Row("all", [Interval(0.05, 0.01, 0.09)])
    svg = interval_plot([row], series=["new"], bounds=(-0.1, 0.1), signed=True)
    assert [each.text for each in marks(svg, "value end")] == ["+0.050"]
    (zero,) = marks(svg, "zero")
    assert float(zero.get("x1", "")) == x_of("0", svg)


@pytest.mark.parametrize("reach", [0.013, 0.1, 0.47, 1.0])
def test_an_axis_has_three_to_nine_round_ticks(reach: float) -> None:
    svg = interval_plot([], series=["new"], bounds=(-reach, reach), signed=True)
    ticks = [float(each.text or "") for each in marks(svg, "tick middle")]
    assert 3 <= len(ticks) <= 9
    assert 0 in ticks
    assert all(abs(tick) <= reach for tick in ticks)


def test_the_tallest_bar_of_the_highest_share_fills_the_plot() -> None:
    svg = histogram_plot([0, 3, 1], series=0, highest_share=0.75)
    empty, full, third = (float(each.get("height", "")) for each in marks(svg, "bar s0"))
    assert empty == 0
    assert full == pytest.approx(3 * third, abs=0.02)
    assert full == pytest.approx(102)


def test_names_that_look_like_markup_stay_text() -> None:
    svg = interval_plot([Row(HOSTILE, [Interval(0.5, 0.4, 0.6)])], series=[HOSTILE])
    assert "<script" not in svg
    assert HOSTILE in [each.text for each in marks(svg, "label end")]


def learning(*means: float | None) -> str:
    points = [
        Point(
            1000 * number, Interval(mean, None if mean is None else mean - 0.1, mean and mean + 0.1)
        )
        for number, mean in enumerate(means)
    ]
    return curve_plot(points, x_label="steps")


def test_a_curve_passes_through_its_values() -> None:
    svg = learning(0.2, 0.4, 0.3)
    dots = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in marks(svg, "dot")]
    assert [x for x, _ in dots] == sorted(x for x, _ in dots)
    assert dots[1][1] < dots[2][1] < dots[0][1]
    (curve,) = marks(svg, "curve")
    assert curve.get("points") == " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)


def test_the_band_of_a_curve_has_two_ends_for_each_point() -> None:
    (band,) = marks(learning(0.2, 0.4, 0.3), "band-of-curve")
    assert len(band.get("points", "").split()) == 6


def test_a_point_without_a_value_is_left_out_of_a_curve() -> None:
    assert len(marks(learning(0.2, None, 0.3), "dot")) == 2
    assert not marks(learning(), "dot")


def test_what_a_curve_counts_is_escaped() -> None:
    svg = curve_plot([Point(0, Interval(0.1, None, None))], x_label=HOSTILE)
    assert "<script>" not in svg


def test_a_plot_in_a_file_of_its_own_has_name_space_and_style() -> None:
    plot = curve_plot([Point(0, Interval(0.5, 0.25, 0.75))], x_label="steps")
    root = ElementTree.fromstring(as_file(plot))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert ".curve" in (root[0].text or "")
    assert len(root) == len(ElementTree.fromstring(plot)) + 1


def label(svg: str) -> str | None:
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    return root.get("aria-label")


def test_a_plot_is_read_aloud_with_its_name_and_values() -> None:
    rows = [
        Row("all turns", [Interval(0.5, 0.25, 0.75), Interval(None, None, None)]),
        Row("seen", [Interval(0.25, None, None), Interval(1, None, None)]),
    ]
    svg = interval_plot(rows, series=["old", "new"], name="Reward per turn")
    assert label(svg) == (
        "Reward per turn. all turns: old 0.500, new none; seen: old 0.250, new 1.000"
    )
    svg = interval_plot(rows[:1], series=["a", "b"], bounds=(-1, 1), signed=True)
    assert label(svg) == "all turns: a +0.500, b none"
    svg = histogram_plot([0, 3, 1], series=0, highest_share=1, name="Turns")
    assert label(svg) == "Turns. 0.33 to 0.67: 3; 0.67 to 1.00: 1"
    svg = curve_plot([Point(1000, Interval(0.5, 0, 1))], x_label="steps", name="Learning")
    assert label(svg) == "Learning. 1,000 steps: 0.500"
    assert label(interval_plot([], series=["a"])) == "plot without values"
