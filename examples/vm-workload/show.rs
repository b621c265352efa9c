//! The texts for connections, lookups, identities and errors.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use anstyle::{AnsiColor, Style};
use mesh_connector::{ConnectionInfo, Transport, nds_client::Identity};
use mesh_resolver::{Lookup, Source};
use time::OffsetDateTime;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Prints an error and its causes to standard error.
pub(crate) fn error(error: &dyn Error) {
    anstream::eprintln!("{BAD}error:{BAD:#} {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        anstream::eprintln!("  because: {error}");
        cause = error.source();
    }
}

/// Formats the addresses, for example `10.1.0.10, 10.1.0.11`.
pub(crate) fn addresses(lookup: &Lookup) -> String {
    lookup.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Formats the source of an answer.
pub(crate) fn source(lookup: &Lookup) -> String {
    match lookup.source() {
        Source::Mesh { .. } => format!("mesh: {}", lookup.canonical_name()),
        Source::HostsFile => "hosts file".to_owned(),
        Source::Literal => "an IP address".to_owned(),
        Source::Upstream => "upstream DNS".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Formats the validity, for example `valid until 2026-11-24 05:33 UTC (23 h 59 min)`.
pub(crate) fn validity(identity: &Identity) -> String {
    let until = OffsetDateTime::from(identity.not_after());
    let (date, hour, minute) = (until.date(), until.hour(), until.minute());
    let remaining = duration(identity.remaining(SystemTime::now()));
    format!("valid until {date} {hour:02}:{minute:02} UTC ({remaining})")
}

/// Formats a duration for people.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.as_millis() == 0 => format!("{} µs", duration.as_micros()),
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Formats the path of a connection.
pub(crate) fn decision(connection: &ConnectionInfo) -> String {
    let way = match (connection.is_through_gateway(), connection.workload_cluster()) {
        (true, Some(cluster)) => format!("gateway {} of {cluster}", connection.endpoint()),
        (true, None) => format!("gateway {}", connection.endpoint()),
        (false, _) => format!("directly to {}", connection.endpoint()),
    };
    match connection.transport() {
        Transport::MutualTls => format!(
            "{way}, mTLS, SNI {}, peer {}",
            connection.sni().unwrap_or_default(),
            connection.peer_name().unwrap_or_default(),
        ),
        _ => format!("{way}, plaintext"),
    }
}
