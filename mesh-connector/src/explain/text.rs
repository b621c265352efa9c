//! An explanation as text for people: one paragraph for each step, in the order of the decision.

use std::fmt::{self, Display, Formatter};

use super::{
    EndpointState, ExplainedCluster, ExplainedConnection, ExplainedEndpoint, ExplainedFailure,
    ExplainedMembership, ExplainedName, ExplainedOutside, ExplainedTransport, Explanation, NameFound,
};

/// Labels take this much, and what follows them is indented so.
const MARGIN: usize = 12;

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
        write!(f, "{host}:{}", target.port)?;
        if !target.subset.is_empty() {
            write!(f, ", subset {}", target.subset)?;
        }
        writeln!(f, ", as {}", target.protocol)?;
        self.membership.write(f)?;
        if let Some(name) = &self.name {
            name.write(f, &target.host)?;
        }
        if let Some(outside) = &self.outside {
            outside.write(f)?;
        }
        if let Some(cluster) = &self.cluster {
            cluster.write(f)?;
            write_endpoints(f, &self.endpoints)?;
        }
        if let Some(connection) = &self.connection {
            connection.write(f)?;
        }
        match &self.failure {
            Some(failure) => failure.write(f)?,
            None if self.connection.is_some() => line(f, "result", "connected")?,
            None => {
                line(f, "result", "nothing known stands in the way; whether it is so, a handshake shows")?
            }
        }
        list(f, "not applied", self.not_applied.iter())?;
        list(f, "not visible", self.not_visible.iter())
    }
}

fn line(f: &mut Formatter<'_>, label: &str, text: impl Display) -> fmt::Result {
    writeln!(f, "{label:<MARGIN$} {text}")
}

/// The first item beside the label, the others below it.
fn list<T: Display>(f: &mut Formatter<'_>, label: &str, items: impl Iterator<Item = T>) -> fmt::Result {
    let mut label = label;
    for item in items {
        line(f, label, item)?;
        label = "";
    }
    Ok(())
}

impl ExplainedMembership {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let who = match (&self.identity, self.certificate_seconds_left) {
            (Some(identity), Some(0)) => format!("{identity}, whose certificate has expired"),
            (Some(identity), Some(left)) => format!("{identity}, certificate for another {}", duration(left)),
            _ => "without a certificate".to_owned(),
        };
        line(f, "from", who)?;
        let network = match &*self.network {
            "" => "no network configured: addresses of other networks may come as they are".to_owned(),
            network => format!("network {network}"),
        };
        let state = match self.stale_seconds {
            Some(seconds) => format!("{}, since {}", self.state, duration(seconds)),
            None => self.state.clone(),
        };
        line(f, "", format_args!("{network}; istiod's state: {state}"))?;
        list(f, "problems", self.problems.iter())
    }
}

impl ExplainedName {
    fn write(&self, f: &mut Formatter<'_>, host: &str) -> fmt::Result {
        let canonical = self.canonical.as_deref().unwrap_or("several services");
        match self.found {
            NameFound::Exact => line(f, "name", format_args!("{canonical}, an entry of the name table"))?,
            NameFound::Unknown => line(f, "name", format_args!("the name table does not have {host}"))?,
            found => line(f, "name", format_args!("{canonical}, {}", how(found)))?,
        }
        if self.names.len() > 1 {
            line(f, "", format_args!("several names have this address: {}", self.names.join(", ")))?;
        }
        let literal = matches!(self.found, NameFound::Address | NameFound::LastResolved);
        if self.addresses.is_empty() || literal || self.found == NameFound::Unknown {
            return Ok(());
        }
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        line(f, "", format_args!("{} in the table, where connections do not go", addresses.join(", ")))
    }
}

fn how(found: NameFound) -> &'static str {
    match found {
        NameFound::Address => "which has this address",
        NameFound::LastResolved => "which this process last resolved to this address",
        NameFound::SearchList => "by the search list",
        NameFound::ShortName => "by its short name",
        NameFound::Wildcard => "a wildcard",
        NameFound::Exact | NameFound::Unknown => "",
    }
}

impl ExplainedOutside {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        match (self.allowed, &addresses[..]) {
            (false, _) => line(f, "outside", "of the mesh, and refused by this program's settings"),
            (true, []) => line(f, "outside", "of the mesh"),
            (true, _) => {
                line(f, "outside", format_args!("of the mesh, plaintext to {}", addresses.join(", ")))
            }
        }
    }
}

impl ExplainedCluster {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        line(f, "cluster", &self.name)?;
        let endpoints = match self.discovery {
            "eds" => "endpoints from EDS",
            "inline" => "endpoints in the cluster itself",
            _ => "headless: the endpoints that EDS gives all the same, else the address asked for",
        };
        let external = if self.external { ", outside of the mesh (MESH_EXTERNAL)" } else { "" };
        let timeout = self.connect_timeout_millis;
        line(
            f,
            "",
            format_args!("{endpoints}, {timeout} ms per attempt, {}{external}", protocol(self.protocol)),
        )?;
        self.write_policy(f)?;
        match &self.subsets[..] {
            [] => Ok(()),
            subsets => line(f, "", format_args!("subsets: {}", subsets.join(", "))),
        }
    }
}

impl ExplainedCluster {
    fn write_policy(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut policy = self.balancing.replace('_', " ");
        if self.locality_weighted {
            policy.push_str(", localities by weight");
        }
        if let Some(failures) = self.ejected_after {
            policy.push_str(&format!(", ejects after {failures} failures"));
        }
        if self.panic_threshold_percent > 0.0 {
            policy.push_str(&format!(", panic below {} % healthy", self.panic_threshold_percent));
        }
        if let Some(limit) = self.max_connections {
            policy.push_str(&format!(", at most {limit} connections"));
        }
        line(f, "", policy)?;
        self.write_life(f)?;
        self.config.iter().try_for_each(|path| line(f, "", format_args!("by {path}")))
    }
}

impl ExplainedCluster {
    fn write_life(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let life = [
            self.idle_timeout_millis.map(|idle| match idle {
                0 => "idle for ever".to_owned(),
                idle => format!("idle for {idle} ms at most"),
            }),
            self.max_connection_duration_millis.map(|most| format!("for {most} ms in all")),
            self.max_requests_per_connection.map(|most| format!("for {most} requests")),
        ];
        let life: Vec<_> = life.into_iter().flatten().collect();
        if life.is_empty() { Ok(()) } else { line(f, "", format_args!("connections: {}", life.join(", "))) }
    }
}

fn protocol(protocol: &str) -> &str {
    match protocol {
        "http2" => "HTTP/2",
        "http1_or_tcp" => "HTTP/1.1 or raw bytes",
        _ => "protocol detected from the bytes",
    }
}

fn write_endpoints(f: &mut Formatter<'_>, endpoints: &[ExplainedEndpoint]) -> fmt::Result {
    if endpoints.is_empty() {
        return line(f, "endpoints", "none");
    }
    list(f, "endpoints", endpoints.iter())?;
    // Nearly always there is one way for all of them.
    let mut transports: Vec<&ExplainedTransport> = Vec::new();
    for transport in endpoints.iter().filter_map(|endpoint| endpoint.transport.as_ref()) {
        if !transports.contains(&transport) {
            transports.push(transport);
        }
    }
    transports.into_iter().try_for_each(|transport| transport.write(f))
}

impl Display for ExplainedEndpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = match self.state {
            EndpointState::First | EndpointState::Later => "kept",
            EndpointState::Refused | EndpointState::Unhealthy | EndpointState::Ejected => "dropped",
        };
        write!(f, "{word:<8} {}", self.address)?;
        match (&self.workload_cluster, &self.workload) {
            (Some(cluster), _) if self.gateway => write!(f, ", gateway to {cluster}")?,
            (Some(cluster), Some(workload)) => write!(f, ", {workload} in {cluster}")?,
            (None, Some(workload)) => write!(f, ", {workload}")?,
            _ => {}
        }
        let transport = self.transport.as_ref().map(|transport| transport.kind.replace('_', " "));
        let transport = transport.map(|kind| format!(", {kind}")).unwrap_or_default();
        write!(f, "{transport}, priority {}, weight {}", self.priority, self.weight)?;
        write!(f, ": {}", self.reason)
    }
}

impl ExplainedTransport {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(sni) = &self.sni else {
            return line(f, "plaintext", format_args!("as the control plane says{}", self.header()));
        };
        let sni = if sni.is_empty() { "no SNI" } else { &*format!("SNI {sni}") };
        line(f, &self.kind.replace('_', " "), format_args!("{sni}{}", self.header()))?;
        let offered = self.alpn_offered.join(", ");
        line(
            f,
            "",
            if offered.is_empty() { "offers no ALPN".to_owned() } else { format!("offers {offered}") },
        )?;
        line(f, "", format_args!("expects {}", self.expected.join(" or ")))
    }

    fn header(&self) -> String {
        let version =
            self.proxy_protocol.map(|version| format!(", after a PROXY protocol header ({version})"));
        version.unwrap_or_default()
    }
}

impl ExplainedConnection {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let way = if self.gateway { "gateway" } else { "endpoint" };
        let millis = self.micros.div_ceil(1000);
        line(f, "handshake", format_args!("{way} {} at {}, {millis} ms", self.endpoint, self.peer_addr))?;
        let Some(presented) = &self.presented else {
            return line(f, "", "in plaintext: nobody proved anything");
        };
        line(f, "", format_args!("presented {presented}, as expected"))?;
        let alpn = self.alpn.as_deref().unwrap_or("none, which is usual");
        line(f, "", format_args!("application protocol: {alpn}"))
    }
}

impl ExplainedFailure {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        line(f, "result", format_args!("fails ({}): {}", self.kind, self.summary))?;
        for attempt in &self.attempts {
            line(f, "", format_args!("tried {}: {}", attempt.endpoint, attempt.summary))?;
        }
        list(f, "presented", self.presented.iter())?;
        list(f, "expected", self.expected.iter())?;
        list(f, "may be", self.candidates.iter())
    }
}

/// `23 h 59 min`
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
