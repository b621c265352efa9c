//! The results of a run, row by row.

use serde_json::{Value, json};

use crate::{samples::Samples, unit::Unit};

/// All results of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) missing: Vec<Missing>,
    command: &'static str,
}

/// One measurement, with that of a peer if there is one.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) command: &'static str,
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) ours: Samples,
    pub(crate) peer: Option<Peer>,
    pub(crate) budget: Option<Budget>,
}

/// The measurement of a peer, for comparison.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) figures: Samples,
}

/// The maximum that is allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Budget {
    /// A maximum of Sidestep's figure, in the unit of the row.
    Ours(f64),
    /// A maximum of the ratio of Sidestep's figure to the peer's.
    Ratio(f64),
}

/// A peer that is not installed on the machine.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) command: &'static str,
    pub(crate) peer: String,
    pub(crate) why: String,
}

impl Report {
    /// Sets the command of the following rows.
    pub(crate) fn begin(&mut self, command: &'static str) {
        self.command = command;
    }

    /// Adds a row. Peer and budget can be added to it.
    pub(crate) fn row(&mut self, what: &str, unit: Unit, ours: Samples) -> &mut Row {
        let row = Row { command: self.command, what: what.to_owned(), unit, ours, peer: None, budget: None };
        self.rows.push(row);
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }

    /// Records that a peer is missing, and why.
    pub(crate) fn missing(&mut self, peer: &str, why: &str) {
        self.missing.push(Missing { command: self.command, peer: peer.to_owned(), why: why.to_owned() });
    }

    /// Returns whether every budget that could be checked is met.
    pub(crate) fn is_met(&self) -> bool {
        self.rows.iter().all(|row| row.is_met() != Some(false))
    }

    /// Returns the report as JSON. Figures are medians in the unit of the row; `spread` is half of the interquartile
    /// range divided by the median; `budget` is the maximum of the value that `budget_of` names, `ours` or `ratio`.
    pub(crate) fn to_json(&self) -> Value {
        let missing = self
            .missing
            .iter()
            .map(|missing| json!({"command": missing.command, "peer": missing.peer, "why": missing.why}));
        json!({
            "met": self.is_met(),
            "rows": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            "missing_peers": missing.collect::<Vec<_>>(),
        })
    }
}

impl Row {
    /// Adds the measurement of a peer in the same rounds.
    pub(crate) fn beside(&mut self, name: &str, figures: &Samples) -> &mut Self {
        self.peer = Some(Peer { name: name.to_owned(), figures: figures.clone() });
        self
    }

    /// Sets the budget.
    pub(crate) fn within(&mut self, budget: Budget) {
        self.budget = Some(budget);
    }

    /// Returns the ratio of Sidestep's figure to the peer's in each round.
    pub(crate) fn ratio(&self) -> Option<Samples> {
        self.peer.as_ref().map(|peer| self.ours.over(&peer.figures))
    }

    /// Returns whether the budget is met, or `None` without a budget or without the peer that it needs.
    pub(crate) fn is_met(&self) -> Option<bool> {
        match self.budget? {
            Budget::Ours(most) => Some(self.ours.median() <= most),
            Budget::Ratio(most) => self.ratio().map(|ratio| ratio.median() <= most),
        }
    }

    fn to_json(&self) -> Value {
        let (peer, ratio) = (self.peer.as_ref(), self.ratio());
        let (budget, budget_of) = match self.budget {
            Some(Budget::Ours(most)) => (Some(most), Some("ours")),
            Some(Budget::Ratio(most)) => (Some(most), Some("ratio")),
            None => (None, None),
        };
        json!({
            "command": self.command,
            "what": self.what,
            "unit": self.unit.as_str(),
            "ours": self.ours.median(),
            "ours_spread": self.ours.spread(),
            "peer": peer.map(|peer| peer.figures.median()),
            "peer_name": peer.map(|peer| &peer.name),
            "peer_spread": peer.map(|peer| peer.figures.spread()),
            "ratio": ratio.as_ref().map(Samples::median),
            "ratio_spread": ratio.as_ref().map(Samples::spread),
            "budget": budget,
            "budget_of": budget_of,
            "met": self.is_met(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_budget_is_reported_and_a_budget_without_its_peer_is_not() {
        let mut report = Report::default();
        report.begin("lookup");
        report.row("alone", Unit::Nanoseconds, Samples::once(5.0)).within(Budget::Ratio(0.5));
        assert!(report.is_met());
        let peer = Samples::once(8.0);
        report
            .row("beside", Unit::Nanoseconds, Samples::once(5.0))
            .beside("a map", &peer)
            .within(Budget::Ratio(0.5));
        assert!(!report.is_met());
        let json = report.to_json();
        assert_eq!((&json["met"], &json["rows"][0]["met"]), (&Value::Bool(false), &Value::Null));
        assert_eq!(json["rows"][1]["ratio"], 0.625);
        assert_eq!(json["rows"][1]["command"], "lookup");
    }
}
