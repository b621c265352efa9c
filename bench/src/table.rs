//! A report as a text table.

use crate::{
    report::{Budget, Report, Row},
    samples::Samples,
    unit::digits,
};

const HEADS: [&str; 7] = ["command", "what", "ours", "peer", "ratio", "budget", ""];

/// Draws the rows as aligned columns, followed by the missing peers.
pub(crate) fn draw(report: &Report) -> String {
    let lines: Vec<[String; 7]> =
        [HEADS.map(str::to_owned)].into_iter().chain(report.rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..HEADS.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    for missing in &report.missing {
        text.push_str(&format!("{}: {} is missing: {}\n", missing.command, missing.peer, missing.why));
    }
    text
}

fn cells(row: &Row) -> [String; 7] {
    let figure = |samples: &Samples| format!("{}{}", row.unit.show(samples.median()), spread(samples));
    let peer = row.peer.as_ref().map(|peer| format!("{} {}", peer.name, figure(&peer.figures)));
    let ratio = row.ratio().map(|ratio| format!("{}{}", digits(ratio.median()), spread(&ratio)));
    let budget = row.budget.map(|budget| match budget {
        Budget::Ours(most) => format!("≤ {}", row.unit.show(most)),
        Budget::Ratio(most) => format!("ratio ≤ {}", digits(most)),
    });
    let verdict = match (row.is_met(), row.budget) {
        (Some(true), _) => "ok",
        (Some(false), _) => "MISSED",
        (None, Some(_)) => "not measured",
        (None, None) => "",
    };
    [
        row.command.to_owned(),
        row.what.clone(),
        figure(&row.ours),
        peer.unwrap_or_default(),
        ratio.unwrap_or_default(),
        budget.unwrap_or_default(),
        verdict.to_owned(),
    ]
}

fn spread(samples: &Samples) -> String {
    let percent = samples.spread() * 100.0;
    if percent > 0.0 { format!(" ±{percent:.0}%") } else { String::new() }
}
