//! Draws charts as SVG, for a page that loads nothing from elsewhere.
//!
//! Colours come from the classes `c0` to `c5` of the page, so that a chart is readable on a light
//! and on a dark background.

use std::fmt::Write as _;

/// Size of a chart, and of the margins around what is drawn.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;
/// Number of classes of colours.
const COLOURS: usize = 6;
/// Maximum number of points of a line: more cannot be told apart.
const POINTS_MAX: usize = 760;
/// About so many marks stand on an axis.
const TICKS: f64 = 5.0;

/// Maximum value that is drawn: far above every figure, so that no arithmetic overflows.
const VALUE_MAX: f64 = 1e18;

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Evenly, from 0 on.
    Linear,
    /// Every power of ten has the same width.
    Log,
}

/// A line of a chart.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Points from left to right; a line has a hole where there is no value.
    pub(crate) points: Vec<(f64, Option<f64>)>,
}

/// A chart of lines over the time.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) scale: Scale,
    /// Formats a value of the vertical axis.
    pub(crate) words: fn(f64) -> String,
    pub(crate) lines: Vec<Line>,
    /// Moments with a name.
    pub(crate) marks: Vec<(f64, String)>,
}

/// A bar of a row: something that lasted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// Class of its colour.
    pub(crate) class: usize,
    pub(crate) name: String,
}

/// A row of what lasted when.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) bars: Vec<Bar>,
}

/// An axis: the place of a value between 0 and 1, and the marks on it.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    fn of(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let positive = values.filter(|value| *value > 0.0 && *value <= VALUE_MAX);
        let (low, high) = positive.fold((f64::MAX, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        match scale {
            Scale::Linear => Self {
                scale,
                low: 0.0,
                high: if high > 0.0 { high * 1.05 } else { 1.0 },
            },
            Scale::Log if high > 0.0 => {
                let low = 10_f64.powf(low.log10().floor());
                let high = 10_f64.powf(high.log10().ceil()).max(low * 10.0);
                Self { scale, low, high }
            }
            Scale::Log => Self {
                scale,
                low: 1.0,
                high: 10.0,
            },
        }
    }

    fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => value / self.high,
            Scale::Log => {
                let value = value.max(self.low);
                (value / self.low).log10() / (self.high / self.low).log10()
            }
        };
        place.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = nice(self.high / TICKS);
                let count = (self.high / step).floor() as u32;
                (0..=count).map(|tick| f64::from(tick) * step).collect()
            }
            Scale::Log => {
                let first = self.low.log10().round() as i32;
                let last = self.high.log10().round() as i32;
                (first..=last).map(|power| 10_f64.powi(power)).collect()
            }
        }
    }
}

/// Returns the least of 1, 2 and 5 times a power of ten that is not below `step`.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0].into_iter();
    let mut nice = factors.map(|factor| factor * power);
    nice.find(|nice| *nice >= step * 0.999)
        .unwrap_or(10.0 * power)
}

fn x(place: f64) -> f64 {
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

fn y(place: f64) -> f64 {
    HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
}

/// Makes text safe within HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            character if character.is_control() => safe.push(' '),
            character => safe.push(character),
        }
    }
    safe
}

/// Draws a chart of lines with its title and the names of the lines.
pub(crate) fn lines(chart: &Chart) -> String {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let times = Axis::of(Scale::Linear, points().map(|point| point.0));
    let values = Axis::of(chart.scale, points().filter_map(|point| point.1));
    let mut drawn = grid(&values, chart.words);
    for tick in times.ticks() {
        label_below(&mut drawn, times.place(tick), &format!("{tick} s"));
    }
    for (time, name) in &chart.marks {
        let (at, top) = (x(times.place(*time)), TOP + 10.0);
        let name = escaped(name);
        let _ = write!(
            drawn,
            "<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
             <text x=\"{:.1}\" y=\"{top}\">{name}</text>",
            y(0.0),
            at + 4.0
        );
    }
    let mut names = String::new();
    for (number, line) in chart.lines.iter().enumerate() {
        let class = number % COLOURS;
        let path = path(&line.points, &times, &values);
        let _ = write!(drawn, "<path class=\"line c{class}\" d=\"{path}\"/>");
        let name = escaped(&line.name);
        let _ = write!(names, "<span class=\"key c{class}\">{name}</span> ");
    }
    figure(chart.title, &drawn, &names)
}

/// Draws bars over a logarithmic axis of times in microseconds: the counts of `(from, to, count)`.
pub(crate) fn bars(
    title: &'static str,
    bars: &[(f64, f64, f64)],
    words: fn(f64) -> String,
) -> String {
    let edges = bars.iter().flat_map(|(from, to, _)| [*from, *to]);
    let times = Axis::of(Scale::Log, edges);
    let counts = Axis::of(Scale::Linear, bars.iter().map(|bar| bar.2));
    let mut drawn = grid(&counts, |count| format!("{count:.0}"));
    for tick in times.ticks() {
        label_below(&mut drawn, times.place(tick), &words(tick));
    }
    for (from, to, count) in bars {
        let (left, right) = (x(times.place(*from)), x(times.place(*to)));
        let (top, bottom) = (y(counts.place(*count)), y(0.0));
        let name = format!("{} to {}: {count:.0}", words(*from), words(*to));
        let _ = write!(
            drawn,
            "<rect class=\"bar c0\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
             height=\"{:.1}\"><title>{}</title></rect>",
            (right - left - 1.0).max(1.0),
            bottom - top,
            escaped(&name)
        );
    }
    figure(title, &drawn, "")
}

/// Draws rows of bars over the time, which ends at `end`: bars of one row that overlap share its
/// height.
pub(crate) fn rows(title: &'static str, end: f64, rows: &[Row]) -> String {
    let times = Axis::of(Scale::Linear, [end].into_iter());
    let each = (HEIGHT - TOP - BOTTOM) / rows.len().max(1) as f64;
    let mut drawn = String::new();
    for tick in times.ticks() {
        label_below(&mut drawn, times.place(tick), &format!("{tick} s"));
    }
    for (number, row) in rows.iter().enumerate() {
        let top = TOP + each * number as f64;
        let (right, name) = (WIDTH - RIGHT, escaped(&row.name));
        let _ = write!(
            drawn,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>\
             <text class=\"left\" x=\"{1}\" y=\"{2:.1}\">{name}</text>",
            top + each,
            LEFT - 6.0,
            top + each / 2.0 + 4.0
        );
        let height = (each - 6.0) / COLOURS as f64;
        for bar in &row.bars {
            let class = bar.class % COLOURS;
            let (left, right) = (x(times.place(bar.from)), x(times.place(bar.to)));
            let _ = write!(
                drawn,
                "<rect class=\"c{class}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" \
                 height=\"{height:.1}\"><title>{}</title></rect>",
                top + 3.0 + height * class as f64,
                (right - left).max(2.0),
                escaped(&bar.name)
            );
        }
    }
    figure(title, &drawn, "")
}

fn grid(values: &Axis, words: fn(f64) -> String) -> String {
    let mut drawn = String::new();
    for tick in values.ticks() {
        let at = y(values.place(tick));
        let (right, label) = (WIDTH - RIGHT, escaped(&words(tick)));
        let _ = write!(
            drawn,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"left\" x=\"{}\" y=\"{:.1}\">{label}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    drawn
}

fn label_below(drawn: &mut String, place: f64, label: &str) {
    let (at, below, label) = (x(place), HEIGHT - BOTTOM + 18.0, escaped(label));
    let _ = write!(
        drawn,
        "<text class=\"below\" x=\"{at:.1}\" y=\"{below}\">{label}</text>"
    );
}

fn path(points: &[(f64, Option<f64>)], times: &Axis, values: &Axis) -> String {
    let each = points.len().div_ceil(POINTS_MAX).max(1);
    let (mut path, mut is_down) = (String::new(), false);
    for some in points.chunks(each) {
        // The highest of the points that share a place: no peak is left out.
        let shown = some.iter().filter_map(|point| point.1);
        let highest = shown.filter(|value| *value <= VALUE_MAX).reduce(f64::max);
        let (Some(value), Some((time, _))) = (highest, some.first()) else {
            is_down = false;
            continue;
        };
        let command = if is_down { 'L' } else { 'M' };
        let (at, height) = (x(times.place(*time)), y(values.place(value)));
        let _ = write!(path, "{command}{at:.1} {height:.1}");
        if !is_down {
            // A point between two holes is seen as a dot.
            path.push_str("h0.1");
        }
        is_down = true;
    }
    path
}

fn figure(title: &str, drawn: &str, names: &str) -> String {
    let title = escaped(title);
    format!(
        "<figure><figcaption>{title} <small>{names}</small></figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">{drawn}</svg>\
         </figure>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(scale: Scale, points: Vec<(f64, Option<f64>)>) -> Chart {
        Chart {
            title: "a <title>",
            scale,
            words: |value| format!("{value}"),
            lines: vec![Line {
                name: "a & b".to_owned(),
                points,
            }],
            marks: vec![(2.0, "killed".to_owned())],
        }
    }

    #[test]
    fn marks_on_an_axis_are_round_numbers() {
        for (high, step) in [(1.0, 0.5), (7.0, 2.0), (95.0, 20.0), (1234.0, 500.0)] {
            let axis = Axis::of(Scale::Linear, [high].into_iter());
            let ticks = axis.ticks();
            assert!((ticks[1] - step).abs() < 1e-9, "{high}: {ticks:?}");
            assert!(ticks.len() >= 3 && axis.place(ticks[ticks.len() - 1]) <= 1.0);
        }
        let axis = Axis::of(Scale::Log, [30.0, 4500.0].into_iter());
        assert_eq!(axis.ticks(), [10.0, 100.0, 1000.0, 10_000.0]);
        assert!((axis.place(100.0) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn no_values_and_absurd_values_make_no_broken_chart() {
        let empty: [Vec<(f64, Option<f64>)>; 4] = [
            vec![],
            vec![(1.0, None)],
            vec![(0.0, Some(0.0)), (1.0, Some(0.0))],
            vec![(1.0, Some(f64::MAX)), (2.0, Some(f64::NAN))],
        ];
        for points in empty {
            for scale in [Scale::Linear, Scale::Log] {
                let drawn = lines(&chart(scale, points.clone()));
                assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
            }
        }
        assert!(bars("none", &[], |value| value.to_string()).contains("</svg>"));
    }

    #[test]
    fn a_line_has_a_hole_where_there_is_no_value() {
        let points = vec![
            (1.0, Some(1.0)),
            (2.0, None),
            (3.0, Some(2.0)),
            (4.0, Some(2.0)),
        ];
        let drawn = lines(&chart(Scale::Linear, points));
        let path = drawn
            .split("d=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert_eq!(path.matches('L').count(), 1, "{path}");
        assert!(drawn.contains("a &lt;title&gt;") && drawn.contains("a &amp; b"));
    }

    #[test]
    fn a_long_line_keeps_its_peaks() {
        let peak = |second: u32| if second == 1801 { 50.0 } else { 1.0 };
        let points = (1..=3600).map(|second| (f64::from(second), Some(peak(second))));
        let drawn = lines(&chart(Scale::Linear, points.collect()));
        let path = drawn.split("d=\"").nth(1).unwrap();
        assert!(path.matches('L').count() <= POINTS_MAX);
        let top = format!(" {:.1}", y(1.0 / 1.05));
        assert!(path.contains(&top), "{top}");
    }
}
