//! A report as an image for the README, with one bar for Sidestep and one for the peer.

use std::fmt::Write as _;

use crate::{
    report::{Peer, Report, Row},
    unit::digits,
};

const WIDTH: f64 = 720.0;
const BAR: f64 = 440.0;
const ROW: f64 = 64.0;

/// Draws an SVG image of every row with a peer. The colours are readable on light and dark backgrounds.
pub(crate) fn draw(report: &Report) -> String {
    let rows: Vec<_> =
        report.rows.iter().filter_map(|row| row.peer.as_ref().map(|peer| (row, peer))).collect();
    #[allow(clippy::cast_precision_loss, reason = "a few rows")]
    let height = ROW * rows.len() as f64 + 16.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#7d8590\">\n"
    );
    let mut top = 16.0;
    for (row, peer) in rows {
        draw_row(&mut svg, top, row, peer);
        top += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_row(svg: &mut String, top: f64, row: &Row, peer: &Peer) {
    let (ours, theirs) = (row.ours.median(), peer.figures.median());
    let longest = ours.max(theirs);
    let ratio = row.ratio().map(|ratio| digits(ratio.median())).unwrap_or_default();
    // Writing to a string cannot fail.
    let _ = writeln!(svg, "<text x=\"8\" y=\"{}\">{} ({ratio})</text>", top + 4.0, escape(&row.what));
    let bars = [("Sidestep", ours, "#2f81f7"), (&*peer.name, theirs, "#8b949e")];
    let mut y = top + 12.0;
    for (name, figure, colour) in bars {
        let length = (BAR * figure / longest).max(1.0);
        let label = format!("{} {}", escape(name), row.unit.show(figure));
        let _ = writeln!(
            svg,
            "<rect x=\"8\" y=\"{y}\" width=\"{length:.1}\" height=\"12\" rx=\"2\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\" font-size=\"11\">{label}</text>",
            length + 14.0,
            y + 10.0,
        );
        y += 17.0;
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{samples::Samples, unit::Unit};

    #[test]
    fn a_row_with_a_peer_has_two_bars() {
        let mut report = Report::default();
        report.row("a < b", Unit::Nanoseconds, Samples::once(1.0)).beside("a map", &Samples::once(4.0));
        report.row("alone", Unit::Nanoseconds, Samples::once(1.0));
        let svg = draw(&report);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("a &lt; b (0.250)") && svg.contains("width=\"110.0\""), "{svg}");
    }
}
