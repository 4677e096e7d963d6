//! The plot: panels over time, one below the other, as an SVG.

use std::fmt::Write;

use crate::report::{Phase, Sample};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 78.0;
const TOP: f64 = 34.0;
const HEIGHT: f64 = 120.0;
const GAP: f64 = 34.0;
const COLORS: [&str; 2] = ["#1a6fb5", "#c2571a"];

/// A panel: a title, and a line or two of each sample.
struct Panel {
    title: &'static str,
    is_log: bool,
    lines: &'static [(&'static str, Value)],
}

type Value = fn(&Sample) -> f64;

const PANELS: [Panel; 3] = [
    Panel { title: "writes/s", is_log: false, lines: &[("", |sample| sample.writes as f64)] },
    Panel {
        title: "how long a write took, ms",
        is_log: true,
        lines: &[("p50", |sample| sample.p50_us as f64 / 1e3), ("p99", |sample| sample.p99_us as f64 / 1e3)],
    },
    Panel {
        title: "memory of the node, MiB",
        is_log: false,
        lines: &[("", |sample| sample.usage.rss_bytes as f64 / f64::from(1 << 20))],
    },
];

/// Draws all phases, one after the other.
pub(crate) fn svg(phases: &[Phase]) -> String {
    let samples: Vec<&Sample> = phases.iter().flat_map(|phase| &phase.samples).collect();
    let height = TOP + PANELS.len() as f64 * (HEIGHT + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let x = |second: usize| LEFT + (WIDTH - LEFT - 20.0) * second as f64 / samples.len().max(2) as f64;
    let mut begin = 0;
    for phase in phases {
        let name = phase.until.name();
        _ = writeln!(svg, "<text x=\"{:.1}\" y=\"14\" font-weight=\"bold\">{name}</text>", x(begin));
        if begin > 0 {
            let (at, end) = (x(begin), height - GAP);
            _ = writeln!(svg, "<path d=\"M{at:.1} 4V{end}\" stroke=\"#999\" stroke-dasharray=\"4 3\"/>");
        }
        begin += phase.samples.len();
    }
    for (place, panel) in PANELS.iter().enumerate() {
        draw(&mut svg, panel, &samples, TOP + place as f64 * (HEIGHT + GAP), &x);
    }
    let bottom = height - GAP;
    for second in (0..=samples.len()).step_by((samples.len() / 8).max(1)) {
        let at = x(second);
        _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second} s</text>",
            bottom + 16.0
        );
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, panel: &Panel, samples: &[&Sample], top: f64, x: &impl Fn(usize) -> f64) {
    let values = samples.iter().flat_map(|sample| panel.lines.iter().map(move |(_, of)| of(sample)));
    let most = values.clone().fold(1e-9, f64::max);
    let (least, most) = match panel.is_log {
        true => {
            let least = values.filter(|value| *value > 0.0).fold(most, f64::min);
            (10_f64.powf(least.log10().floor()), 10_f64.powf(most.log10().ceil()))
        }
        false => (0.0, rounded(most)),
    };
    let y = |value: f64| {
        let share = match panel.is_log {
            true => (value.max(least) / least).log10() / (most / least).log10().max(1.0),
            false => value / most,
        };
        top + HEIGHT * (1.0 - share)
    };
    let mut ticks: Vec<f64> = (0..=4).map(|tick| most * f64::from(tick) / 4.0).collect();
    if panel.is_log {
        ticks =
            (0..=9).map(|power| least * 10_f64.powi(power)).take_while(|tick| *tick <= most * 1.01).collect();
    }
    for tick in ticks {
        let (at, end) = (y(tick), WIDTH - 20.0);
        _ = writeln!(svg, "<path d=\"M{LEFT} {at:.1}H{end}\" stroke=\"#ddd\"/>");
        let text = (tick * 1e3).round() / 1e3;
        _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.1}\">{}</text>", top - 6.0, panel.title);
    for ((place, (name, of)), color) in panel.lines.iter().enumerate().zip(COLORS) {
        let points = samples.iter().enumerate().map(|(second, sample)| (x(second), y(of(sample))));
        let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        _ = writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>"
        );
        let at = LEFT + 170.0 + 40.0 * place as f64;
        _ = writeln!(svg, "<text x=\"{at}\" y=\"{:.1}\" fill=\"{color}\">{name}</text>", top - 6.0);
    }
}

/// A round number that is no less: 1, 2, 4, 5 or 8 times a power of ten.
fn rounded(most: f64) -> f64 {
    let power = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|round| *round >= most).unwrap_or(most)
}
