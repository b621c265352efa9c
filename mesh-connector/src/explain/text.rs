//! Prints an explanation as text: one paragraph per step, in the order of the decision.

use std::fmt::{self, Display, Formatter};

use super::{
    Cluster, Connection, ConnectionState, Endpoint, EndpointState, Explanation, Failure, Membership, Name,
    NameMatch, Passthrough, Transport,
};

/// The width of the label column.
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
        if let Some(passthrough) = &self.passthrough {
            passthrough.write(f)?;
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
            None => {
                let result = match self.connection.as_ref().map(|connection| connection.state) {
                    Some(ConnectionState::Connected) => "connected",
                    Some(ConnectionState::Accepted) => "accepted, no response yet",
                    None => "no known obstacle; a handshake probe would verify this",
                };
                line(f, "result", result)?;
            }
        }
        list(f, "not applied", self.not_applied.iter())?;
        list(f, "not visible", self.not_visible.iter())
    }
}

fn line(f: &mut Formatter<'_>, label: &str, text: impl Display) -> fmt::Result {
    writeln!(f, "{label:<MARGIN$} {text}")
}

/// Prints the first item next to the label and the others below it.
fn list<T: Display>(f: &mut Formatter<'_>, label: &str, items: impl Iterator<Item = T>) -> fmt::Result {
    let mut label = label;
    for item in items {
        line(f, label, item)?;
        label = "";
    }
    Ok(())
}

impl Membership {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let who = match (&self.identity, self.certificate_seconds_left) {
            (Some(identity), Some(0)) => format!("{identity}, whose certificate has expired"),
            (Some(identity), Some(left)) => format!("{identity}, certificate valid for {}", duration(left)),
            _ => "without a certificate".to_owned(),
        };
        line(f, "from", who)?;
        let network = match &*self.network {
            "" => {
                "no network configured: endpoints of other networks may have unreachable addresses".to_owned()
            }
            network => format!("network {network}"),
        };
        let state = match self.stale_seconds {
            Some(seconds) => format!("{}, since {}", self.state, duration(seconds)),
            None => self.state.clone(),
        };
        line(f, "", format_args!("{network}; state of istiod's data: {state}"))?;
        list(f, "problems", self.problems.iter())
    }
}

impl Name {
    fn write(&self, f: &mut Formatter<'_>, host: &str) -> fmt::Result {
        let canonical = self.canonical.as_deref().unwrap_or("several services");
        match self.match_kind {
            NameMatch::Exact => line(f, "name", format_args!("{canonical}, an entry of the name table"))?,
            NameMatch::Unknown => line(f, "name", format_args!("not in the name table: {host}"))?,
            found => line(f, "name", format_args!("{canonical}, {}", how(found)))?,
        }
        if let Some(shadowed) = &self.shadowed {
            line(
                f,
                "",
                format_args!(
                    "the ServiceEntry with the host {shadowed} is not used: a Kubernetes service has this short name"
                ),
            )?;
        }
        if self.names.len() > 1 {
            line(f, "", format_args!("names with this address: {}", self.names.join(", ")))?;
        }
        let literal = matches!(self.match_kind, NameMatch::Address | NameMatch::LastResolved);
        if self.addresses.is_empty() || literal || self.match_kind == NameMatch::Unknown {
            return Ok(());
        }
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        line(
            f,
            "",
            format_args!("{} in the name table (connections go to endpoints instead)", addresses.join(", ")),
        )
    }
}

fn how(found: NameMatch) -> &'static str {
    match found {
        NameMatch::Address => "which has this address",
        NameMatch::LastResolved => "which this process resolved to this address most recently",
        NameMatch::SearchDomain => "by the DNS search domain",
        NameMatch::ShortName => "by its short name",
        NameMatch::Wildcard => "a wildcard",
        NameMatch::Exact | NameMatch::Unknown => "",
    }
}

impl Passthrough {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        match (self.allowed, &addresses[..]) {
            (false, _) => line(f, "passthrough", "refused by the settings of this program"),
            (true, []) => line(f, "passthrough", "the host is outside the mesh"),
            (true, _) => line(
                f,
                "passthrough",
                format_args!("the host is outside the mesh; plaintext to {}", addresses.join(", ")),
            ),
        }
    }
}

impl Cluster {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        line(f, "cluster", &self.name)?;
        let endpoints = match self.discovery {
            "eds" => "endpoints from EDS",
            "inline" => "endpoints in the cluster resource",
            _ => "headless: endpoints from EDS if istiod sends any, otherwise the requested address",
        };
        let external = if self.external { ", outside the mesh (MESH_EXTERNAL)" } else { "" };
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

impl Cluster {
    fn write_policy(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut policy = self.load_balancing_policy.replace('_', " ");
        if self.locality_weighted {
            policy.push_str(", localities by weight");
        }
        if let Some(failures) = self.ejection_threshold {
            policy.push_str(&format!(", ejects after {failures} failures"));
        }
        if self.panic_threshold_percent > 0.0 {
            policy.push_str(&format!(", panic threshold {} %", self.panic_threshold_percent));
        }
        if let Some(limit) = self.max_connections {
            policy.push_str(&format!(", at most {limit} connections"));
        }
        line(f, "", policy)?;
        self.write_life(f)?;
        self.destination_rule.iter().try_for_each(|path| line(f, "", format_args!("configured by {path}")))
    }
}

impl Cluster {
    fn write_life(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let life = [
            self.idle_timeout_millis.map(|idle| match idle {
                0 => "no idle timeout".to_owned(),
                idle => format!("idle timeout {idle} ms"),
            }),
            self.max_connection_duration_millis.map(|most| format!("maximum age {most} ms")),
            self.max_requests_per_connection.map(|most| format!("at most {most} requests each")),
        ];
        let life: Vec<_> = life.into_iter().flatten().collect();
        if life.is_empty() { Ok(()) } else { line(f, "", format_args!("connections: {}", life.join(", "))) }
    }
}

fn protocol(protocol: &str) -> &str {
    match protocol {
        "http2" => "HTTP/2",
        "http1_or_tcp" => "HTTP/1.1 or raw bytes",
        _ => "protocol detected from the first bytes",
    }
}

fn write_endpoints(f: &mut Formatter<'_>, endpoints: &[Endpoint]) -> fmt::Result {
    if endpoints.is_empty() {
        return line(f, "endpoints", "none");
    }
    list(f, "endpoints", endpoints.iter())?;
    // Endpoints usually have the same transport, so each transport is printed once.
    let mut transports: Vec<&Transport> = Vec::new();
    for transport in endpoints.iter().filter_map(|endpoint| endpoint.transport.as_ref()) {
        if !transports.contains(&transport) {
            transports.push(transport);
        }
    }
    transports.into_iter().try_for_each(|transport| transport.write(f))
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = match self.state {
            EndpointState::First | EndpointState::Later => "usable",
            EndpointState::Refused | EndpointState::Unhealthy | EndpointState::Ejected => "excluded",
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

impl Transport {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(sni) = &self.sni else {
            return line(f, "plaintext", format_args!("configured by the control plane{}", self.header()));
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

impl Connection {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let way = if self.gateway { "gateway" } else { "endpoint" };
        let millis = self.connect_micros.div_ceil(1000);
        line(
            f,
            "handshake",
            format_args!(
                "{} {} (peer address {}) in {millis} ms",
                match self.state {
                    ConnectionState::Connected => format!("connected to the {way}"),
                    ConnectionState::Accepted => format!("accepted by the {way}"),
                },
                self.endpoint,
                self.peer_addr
            ),
        )?;
        let Some(peer) = &self.peer else {
            return line(f, "", "plaintext: no identity was verified");
        };
        line(f, "", format_args!("the peer presented {peer}, as expected"))?;
        let alpn = self.alpn.as_deref().unwrap_or("none, which is usual");
        line(f, "", format_args!("application protocol: {alpn}"))
    }
}

impl Failure {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        line(f, "result", format_args!("fails ({}): {}", self.kind, self.summary))?;
        for attempt in &self.attempts {
            line(f, "", format_args!("attempt {}: {}", attempt.endpoint, attempt.summary))?;
        }
        list(f, "presented", self.presented.iter())?;
        list(f, "expected", self.expected.iter())?;
        list(f, "possible", self.possible_causes.iter())
    }
}

/// Formats a duration, such as `23 h 59 min`.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
