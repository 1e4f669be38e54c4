//! Charts as SVG: groups of bars, each with a whisker or from a low to a high figure.
//!
//! A chart has no script and no font of its own, and its colours can be told apart without colour
//! vision. The same figures give the same bytes.

use std::fmt::Write as _;

use crate::number::short;

/// Colours of the series, in their order: Okabe and Ito.
const COLOURS: [&str; 6] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00",
];
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
/// Room for the numbers of the axis, and for what stands above and below the bars.
const LEFT: f64 = 64.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 36.0;
const RIGHT: f64 = 16.0;

/// A chart of bars in groups.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What is shown, with its unit.
    pub title: String,
    /// What made the chart, for a comment.
    pub source: String,
    /// Names of the groups, from left to right.
    pub groups: Vec<String>,
    /// Name of each series, and its bar in each group.
    pub series: Vec<(String, Vec<Option<Bar>>)>,
    /// Whether each line of the axis is ten times the one below.
    pub logarithmic: bool,
    /// A figure to compare with, drawn across.
    pub line: Option<f64>,
}

/// One bar.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// From the axis to a figure, with a whisker from the smallest to the greatest.
    Whisker(f64, f64, f64),
    /// From a low figure to a high one.
    Range(f64, f64),
}

impl Bar {
    fn low(self) -> f64 {
        match self {
            Self::Whisker(low, _, _) | Self::Range(low, _) => low,
        }
    }

    fn high(self) -> f64 {
        match self {
            Self::Whisker(_, _, high) | Self::Range(_, high) => high,
        }
    }
}

/// The vertical axis: its ends, and where a figure is.
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    fn of(bars: &Bars) -> Self {
        let all = bars.series.iter().flat_map(|(_, bars)| bars).flatten();
        let (mut low, mut high) = (f64::MAX, f64::MIN_POSITIVE);
        for bar in all {
            low = low.min(bar.low());
            high = high.max(bar.high());
        }
        if let Some(line) = bars.line {
            (low, high) = (low.min(line), high.max(line));
        }
        if !bars.logarithmic {
            let step = step(high);
            let high = (high / step).ceil() * step;
            return Self {
                low: 0.0,
                high,
                logarithmic: false,
            };
        }
        let low = low.clamp(1e-3, 1e9);
        let (low, high) = (low.log10().floor(), high.max(low).log10().ceil());
        let high = high.max(low + 1.0);
        Self {
            low,
            high,
            logarithmic: true,
        }
    }

    fn y(&self, figure: f64) -> f64 {
        let at = match self.logarithmic {
            true => figure.max(1e-9).log10(),
            false => figure,
        };
        let share = ((at - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    fn ticks(&self) -> Vec<f64> {
        let (mut ticks, mut at) = (Vec::new(), self.low);
        let step = match self.logarithmic {
            true => 1.0,
            false => step(self.high),
        };
        while at <= self.high + step / 2.0 && ticks.len() < 20 {
            ticks.push(if self.logarithmic {
                10_f64.powf(at)
            } else {
                at
            });
            at += step;
        }
        ticks
    }
}

/// Returns the distance of two lines of an axis that ends near a figure.
fn step(high: f64) -> f64 {
    let size = 10_f64.powf(high.log10().floor());
    match high / size {
        part if part > 5.0 => size * 2.0,
        part if part > 2.0 => size,
        _ => size / 2.0,
    }
}

impl Bars {
    /// Draws the chart.
    #[must_use]
    pub fn svg(&self) -> String {
        let axis = Axis::of(self);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             role=\"img\">\n<!-- Made by {}: do not edit. -->\n<title>{}</title>\n<style>\n\
             text {{ font: 12px system-ui, sans-serif; fill: #24292f }}\n\
             .axis {{ stroke: #d0d7de }}\n\
             .line {{ stroke: #24292f; stroke-dasharray: 5 4 }}\n\
             .whisker {{ stroke: #24292f; stroke-width: 1.2 }}\n</style>\n\
             <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\" \
             fill=\"#ffffff\" stroke=\"#d0d7de\"/>\n\
             <text x=\"16\" y=\"24\" font-weight=\"bold\">{}</text>\n",
            escape(&self.source),
            escape(&self.title),
            WIDTH - 1.0,
            HEIGHT - 1.0,
            escape(&self.title),
        );
        self.draw_axis(&axis, &mut svg);
        self.draw_bars(&axis, &mut svg);
        self.draw_names(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_axis(&self, axis: &Axis, svg: &mut String) {
        for tick in axis.ticks() {
            let y = axis.y(tick);
            line(svg, "axis", (LEFT, y), (WIDTH - RIGHT, y));
            let (x, y, text) = (LEFT - 6.0, y + 4.0, plain(tick));
            text_at(svg, "end", x, y, &text);
        }
        if let Some(figure) = self.line {
            let y = axis.y(figure);
            line(svg, "line", (LEFT, y), (WIDTH - RIGHT, y));
        }
    }

    fn draw_bars(&self, axis: &Axis, svg: &mut String) {
        let group = self.group_width();
        let width = group * 0.8 / self.series.len().max(1) as f64;
        for (number, (name, bars)) in self.series.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            for (at, bar) in bars.iter().enumerate() {
                let Some(bar) = *bar else { continue };
                let x = LEFT + group * (at as f64 + 0.1) + width * number as f64;
                let (below, above) = match bar {
                    Bar::Whisker(_, middle, _) => (HEIGHT - BOTTOM, axis.y(middle)),
                    Bar::Range(low, high) => (axis.y(low), axis.y(high)),
                };
                let (shown, height) = (figure_of(bar), (below - above).max(1.0));
                let title = escape(&format!("{name}, {}: {shown}", self.groups[at]));
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{above:.1}\" width=\"{:.1}\" height=\"{height:.1}\" \
                     fill=\"{colour}\"><title>{title}</title></rect>",
                    width - 2.0
                );
                let middle = x + width / 2.0 - 1.0;
                if let Bar::Whisker(low, _, high) = bar {
                    line(
                        svg,
                        "whisker",
                        (middle, axis.y(low)),
                        (middle, axis.y(high)),
                    );
                }
                if width >= 26.0 {
                    let label = match bar {
                        Bar::Whisker(_, middle, _) => middle,
                        Bar::Range(_, high) => high,
                    };
                    text_at(
                        svg,
                        "middle",
                        middle,
                        axis.y(bar.high()) - 4.0,
                        &short(label),
                    );
                }
            }
        }
    }

    fn draw_names(&self, svg: &mut String) {
        for (at, name) in self.groups.iter().enumerate() {
            let x = LEFT + self.group_width() * (at as f64 + 0.5);
            text_at(svg, "middle", x, HEIGHT - 14.0, name);
        }
        let mut x = 16.0;
        for (number, (name, _)) in self.series.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"34\" width=\"11\" height=\"11\" fill=\"{colour}\"/>"
            );
            text_at(svg, "start", x + 16.0, 44.0, name);
            x += 34.0 + 6.6 * name.chars().count() as f64;
        }
    }

    fn group_width(&self) -> f64 {
        (WIDTH - LEFT - RIGHT) / self.groups.len().max(1) as f64
    }
}

fn figure_of(bar: Bar) -> String {
    match bar {
        Bar::Whisker(low, middle, high) => {
            format!("{} ({} to {})", short(middle), short(low), short(high))
        }
        Bar::Range(low, high) => format!("{} to {}", short(low), short(high)),
    }
}

/// Writes a figure of the axis, without zeros at its end.
fn plain(figure: f64) -> String {
    match figure {
        figure if figure >= 1e6 => format!("{}M", figure / 1e6),
        figure if figure >= 1e4 => format!("{}k", figure / 1e3),
        figure => format!("{}", (figure * 1e6).round() / 1e6),
    }
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text_at(svg: &mut String, anchor: &str, x: f64, y: f64, text: &str) {
    let text = escape(text);
    let _ = writeln!(
        svg,
        "<text text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
    );
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    // Two hyphens would end the comment in which a command may stand.
    text.replace('>', "&gt;").replace("--", "-\u{200b}-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(logarithmic: bool) -> Bars {
        Bars {
            title: "a < b".to_owned(),
            source: "x --flag".to_owned(),
            groups: vec!["1".to_owned(), "16".to_owned()],
            series: vec![
                (
                    "one".to_owned(),
                    vec![Some(Bar::Whisker(0.5, 1.0, 20.0)), None],
                ),
                ("two".to_owned(), vec![None, Some(Bar::Range(3.0, 40.0))]),
            ],
            logarithmic,
            line: Some(1.0),
        }
    }

    #[test]
    fn a_chart_is_whole_and_stays_inside_of_its_frame() {
        for logarithmic in [false, true] {
            let svg = bars(logarithmic).svg();
            assert!(svg.ends_with("</svg>\n") && svg.contains("a &lt; b"));
            assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
            for part in svg.split(" y=\"").skip(1) {
                let y: f64 = part.split('"').next().unwrap().parse().unwrap();
                assert!((0.0..=HEIGHT).contains(&y), "{y}");
            }
            assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
    }

    #[test]
    fn a_greater_figure_is_drawn_higher() {
        let axis = Axis::of(&bars(true));
        assert!(axis.y(10.0) < axis.y(1.0));
        assert_eq!(axis.ticks(), [0.1, 1.0, 10.0, 100.0]);
        assert_eq!(
            Axis::of(&bars(false)).ticks(),
            [0.0, 10.0, 20.0, 30.0, 40.0]
        );
    }
}
