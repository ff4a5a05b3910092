//! A line chart over time as SVG: no script, sharp on paper, colours from the page's style.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;
/// Points of a line that are drawn at most: more cannot be told apart.
const POINTS_MAX: usize = 720;

/// How values are written on the axis.
pub type Unit = fn(f64) -> String;

pub struct Chart<'a> {
    pub title: &'a str,
    pub unit: Unit,
    /// Logarithmic, for what spans orders of magnitude; values of 0 are left out.
    pub is_log: bool,
    /// Seconds.
    pub times: &'a [f64],
    /// Names and values, which are as many as the times.
    pub lines: Vec<(&'a str, Vec<f64>)>,
}

impl Chart<'_> {
    /// The chart as a `<figure>`; nothing if there is nothing to show.
    pub fn to_html(&self) -> String {
        let values = || {
            self.lines
                .iter()
                .flat_map(|(_, values)| values.iter().copied())
        };
        let most = values().fold(0.0, f64::max);
        if self.times.len() < 2 || most <= 0.0 {
            return String::new();
        }
        let least = values().filter(|v| *v > 0.0).fold(f64::INFINITY, f64::min);
        let scale = Scale::new(self.is_log, least, most);
        let mut svg = String::new();
        // Writing to a string does not fail.
        let _ = write!(
            svg,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            self.title
        );
        self.draw_axes(&scale, &mut svg);
        for (i, (_, values)) in self.lines.iter().enumerate() {
            self.draw_line(&scale, i, values, &mut svg);
        }
        svg.push_str("</svg>");
        format!(
            "<figure><figcaption>{}{}</figcaption>{svg}</figure>\n",
            self.title,
            self.legend()
        )
    }

    fn legend(&self) -> String {
        if self.lines.len() < 2 {
            return String::new();
        }
        let items = self.lines.iter().enumerate();
        let items = items.map(|(i, (name, _))| format!("<li class=\"c{i}\">{name}</li>"));
        format!("<ul class=\"legend\">{}</ul>", items.collect::<String>())
    }

    fn draw_axes(&self, scale: &Scale, svg: &mut String) {
        for tick in scale.ticks() {
            let y = scale.y(tick);
            let label = (self.unit)(tick);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" class=\"end\">{label}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
            );
        }
        let last = self.last();
        let step = time_step(last);
        for i in 0..=(last / step) as u32 {
            let second = f64::from(i) * step;
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" class=\"mid\">{}</text>",
                self.x(second),
                HEIGHT - 8.0,
                clock(second, last),
            );
        }
    }

    fn draw_line(&self, scale: &Scale, number: usize, values: &[f64], svg: &mut String) {
        let step = self.times.len().div_ceil(POINTS_MAX);
        let mut path = String::new();
        let mut is_down = false;
        for (times, values) in self.times.chunks(step).zip(values.chunks(step)) {
            // Of several the greatest: a peak is what matters.
            let value = values.iter().copied().fold(0.0, f64::max);
            if self.is_log && value <= 0.0 {
                is_down = false;
                continue;
            }
            let command = if is_down { 'L' } else { 'M' };
            is_down = true;
            let _ = write!(
                path,
                "{command}{:.1} {:.1}",
                self.x(times[0]),
                scale.y(value)
            );
        }
        let _ = write!(svg, "<path class=\"line c{number}\" d=\"{path}\"/>");
    }

    fn last(&self) -> f64 {
        self.times.last().copied().unwrap_or(1.0).max(1e-9)
    }

    fn x(&self, second: f64) -> f64 {
        LEFT + second / self.last() * (WIDTH - LEFT - RIGHT)
    }
}

/// From values to heights.
struct Scale {
    is_log: bool,
    low: f64,
    high: f64,
}

impl Scale {
    fn new(is_log: bool, least: f64, most: f64) -> Scale {
        match is_log {
            true => Scale {
                is_log,
                low: 10f64.powf(least.log10().floor()),
                high: 10f64.powf(most.log10().ceil()).max(least * 10.0),
            },
            false => Scale {
                is_log,
                low: 0.0,
                high: (most / step(most)).ceil() * step(most),
            },
        }
    }

    fn y(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => (value / self.low).log10() / (self.high / self.low).log10(),
            false => value / self.high,
        };
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.is_log {
            let decades = (self.high / self.low).log10().round() as i32;
            return (0..=decades).map(|i| self.low * 10f64.powi(i)).collect();
        }
        let step = step(self.high);
        let count = (self.high / step).round() as u32;
        (0..=count).map(|i| f64::from(i) * step).collect()
    }
}

/// Seconds between two marks on the axis of time, as a clock has them; eight marks at most.
fn time_step(last: f64) -> f64 {
    const STEPS: [u32; 13] = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600];
    let steps = STEPS.into_iter().map(f64::from);
    let mut fitting = steps.filter(|step| last / step <= 8.0);
    fitting
        .next()
        .unwrap_or(86_400.0 * (last / 691_200.0).ceil())
}

/// 1, 2 or 5 times a power of ten, of which about five make `most`.
fn step(most: f64) -> f64 {
    let rough = most / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    match rough / power {
        part if part <= 1.0 => power,
        part if part <= 2.0 => 2.0 * power,
        part if part <= 5.0 => 5.0 * power,
        _ => 10.0 * power,
    }
}

/// A time on the axis, in the unit that suits the whole.
fn clock(second: f64, last: f64) -> String {
    match last {
        l if l < 600.0 => format!("{second:.0} s"),
        l if l < 36_000.0 => format!("{:.0} min", second / 60.0),
        _ => format!("{:.0} h", second / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: f64) -> String {
        format!("{value}")
    }

    fn chart(is_log: bool, values: Vec<f64>) -> String {
        let times: Vec<f64> = (1..=values.len()).map(|i| i as f64).collect();
        let chart = Chart {
            title: "t",
            unit: plain,
            is_log,
            times: &times,
            lines: vec![("a", values)],
        };
        chart.to_html()
    }

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        let linear = Scale::new(false, 3.0, 930.0);
        assert_eq!(linear.ticks(), [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]);
        assert!((linear.y(0.0) - (HEIGHT - BOTTOM)).abs() < 1e-9);
        assert!((linear.y(1000.0) - TOP).abs() < 1e-9);
        let log = Scale::new(true, 30.0, 2500.0);
        assert_eq!(log.ticks(), [10.0, 100.0, 1000.0, 10_000.0]);
        assert!((log.y(10_000.0) - TOP).abs() < 1e-9);
    }

    #[test]
    fn time_has_marks_that_a_clock_has() {
        for (last, step) in [(4.0, 1.0), (10.8, 2.0), (70.0, 10.0), (700.0, 120.0)] {
            assert_eq!(time_step(last), step);
        }
        assert_eq!(time_step(86_400.0), 21_600.0);
        assert_eq!(time_step(7.0 * 86_400.0), 86_400.0);
    }

    #[test]
    fn nothing_makes_no_chart_and_gaps_stay_gaps() {
        assert_eq!(chart(false, vec![0.0, 0.0]), "");
        assert_eq!(chart(false, vec![1.0]), "");
        let html = chart(true, vec![10.0, 0.0, 10.0, 20.0]);
        assert_eq!(html.matches('M').count(), 2, "{html}");
        assert!(!html.contains("NaN") && !html.contains("inf"));
    }
}
