//! The compact form of a cluster.
//!
//! Most clusters of a large mesh differ only in three texts: the cluster name, the SNI that is derived from it, and the
//! identities (SANs) of the workloads. Without these texts, a `Cluster` message is one of a few templates, which
//! clusters share. Fields that this client does not read are removed. The message is restored when the cluster is used.

use std::sync::Arc;

use prost::Message as _;
use xds_proto::{
    any,
    envoy::{
        config::{
            cluster::v3::Cluster as Wire,
            core::v3::{Metadata, TransportSocket},
        },
        extensions::{
            transport_sockets::tls::v3::{
                CommonTlsContext, UpstreamTlsContext, common_tls_context::ValidationContextType,
            },
            upstreams::http::v3::HttpProtocolOptions,
        },
        r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
    },
    google::protobuf::{ListValue, Struct, Value, value::Kind},
    type_url,
};

use super::{ClusterName, decode};

/// The placeholder in a template for the name, SNI, host and identities of a cluster.
const OWN: &str = "\u{1}";

/// A cluster in compact form: the parts that only this cluster has, and the template that it shares with others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Compact {
    /// The identities (SANs) of the workloads behind the cluster.
    pub(super) subject_alt_names: Box<[Box<str>]>,
    /// The encoded message with placeholders.
    pub(super) template: Arc<[u8]>,
}

impl Compact {
    /// Creates the compact form of the `Cluster` message `wire`.
    ///
    /// # Errors
    ///
    /// A message that is packed inside `wire`, such as a TLS context, is invalid.
    pub(super) fn new(name: &ClusterName, mut wire: Wire) -> Result<Self, prost::DecodeError> {
        let matched = wire.transport_socket_matches.iter().map(|one| one.transport_socket.as_ref());
        for socket in matched.chain([wire.transport_socket.as_ref()]) {
            decode::transport_socket(socket)?;
        }
        let mut identities = Vec::new();
        hide(&mut wire.name, &name.to_string());
        if let Some(eds) = &mut wire.eds_cluster_config {
            hide(&mut eds.service_name, &name.to_string());
        }
        for context in tls_contexts(&mut wire) {
            let mut tls: UpstreamTlsContext = any::unpack(context)?;
            hide(&mut tls.sni, &name.sni());
            if let Some(matchers) = matchers(tls.common_tls_context.as_mut()) {
                take_out(matchers, &mut identities);
            }
            *context = any::pack(type_url::UPSTREAM_TLS_CONTEXT, &tls);
        }
        wire.typed_extension_protocol_options.retain(|key, _| key == decode::HTTP_OPTIONS);
        for options in wire.typed_extension_protocol_options.values_mut() {
            *options =
                any::pack(type_url::HTTP_PROTOCOL_OPTIONS, &any::unpack::<HttpProtocolOptions>(options)?);
        }
        wire.metadata = wire.metadata.and_then(read_of);
        for host in hosts(wire.metadata.as_mut()) {
            hide(host, &name.host);
        }
        Ok(Self {
            subject_alt_names: identities.into_iter().map(String::into_boxed_str).collect(),
            template: wire.encode_to_vec().into(),
        })
    }

    /// Restores the `Cluster` message, without fields that this client does not read.
    pub(super) fn expand(&self, name: &ClusterName) -> Result<Wire, prost::DecodeError> {
        let mut wire = Wire::decode(&*self.template)?;
        restore(&mut wire.name, &name.to_string());
        if let Some(eds) = &mut wire.eds_cluster_config {
            restore(&mut eds.service_name, &name.to_string());
        }
        for context in tls_contexts(&mut wire) {
            let mut tls: UpstreamTlsContext = any::unpack(context)?;
            restore(&mut tls.sni, &name.sni());
            if let Some(matchers) = matchers(tls.common_tls_context.as_mut()) {
                match is_own(matchers) && !self.subject_alt_names.is_empty() {
                    true => *matchers = self.subject_alt_names.iter().map(|name| exactly(name)).collect(),
                    false => exact_names(matchers).for_each(unescape),
                }
            }
            *context = any::pack(type_url::UPSTREAM_TLS_CONTEXT, &tls);
        }
        for host in hosts(wire.metadata.as_mut()) {
            restore(host, &name.host);
        }
        Ok(wire)
    }
}

/// Replaces a text that equals `own` by the placeholder, and escapes any other text.
fn hide(text: &mut String, own: &str) {
    if text == own {
        OWN.clone_into(text);
    } else {
        escape(text);
    }
}

/// Replaces the placeholder by `own`, and restores an escaped text.
fn restore(text: &mut String, own: &str) {
    if text == OWN {
        own.clone_into(text);
    } else {
        unescape(text);
    }
}

/// Puts the placeholder in front of a text that starts with it, so that no text of a message equals the placeholder.
fn escape(text: &mut String) {
    if text.starts_with(OWN) {
        text.insert_str(0, OWN);
    }
}

fn unescape(text: &mut String) {
    if text.starts_with(OWN) {
        text.drain(..OWN.len());
    }
}

fn exact_names(matchers: &mut [StringMatcher]) -> impl Iterator<Item = &mut String> {
    matchers.iter_mut().filter_map(|matcher| match &mut matcher.match_pattern {
        Some(MatchPattern::Exact(name)) => Some(name),
        _ => None,
    })
}

/// Returns the TLS contexts of the transport sockets, without those inside a PROXY protocol socket. A context with
/// unsupported fields is not returned, so that it stays unchanged: the client later refuses it because of these fields.
fn tls_contexts(wire: &mut Wire) -> impl Iterator<Item = &mut xds_proto::google::protobuf::Any> {
    let matched = wire.transport_socket_matches.iter_mut().map(|one| &mut one.transport_socket);
    let configs = matched.chain([&mut wire.transport_socket]).flatten();
    let configs = configs.filter_map(|socket: &mut TransportSocket| socket.typed_config.as_mut());
    configs.filter(|config| config.type_url == type_url::UPSTREAM_TLS_CONTEXT && decode::is_supported(config))
}

/// Returns the list of the accepted identities (SANs) of the peer; `None` if the TLS context has no field for them.
fn matchers(common: Option<&mut CommonTlsContext>) -> Option<&mut Vec<StringMatcher>> {
    let context = match common?.validation_context_type.as_mut()? {
        ValidationContextType::CombinedValidationContext(combined) => {
            combined.default_validation_context.as_mut()?
        }
        ValidationContextType::ValidationContext(context) => context,
        ValidationContextType::ValidationContextSdsSecretConfig(_) => return None,
    };
    Some(&mut context.match_subject_alt_names)
}

/// Moves the identities of a transport socket to `identities` and puts the placeholder in their place. Usually all
/// transport sockets of a cluster have the same identities. If `identities` already contains different ones, this
/// transport socket stays unchanged.
fn take_out(matchers: &mut Vec<StringMatcher>, identities: &mut Vec<String>) {
    let exact = matchers.iter().map(|matcher| match &matcher.match_pattern {
        Some(MatchPattern::Exact(name)) if !matcher.ignore_case => Some(name.clone()),
        _ => None,
    });
    match exact.collect::<Option<Vec<_>>>().filter(|names| !names.is_empty()) {
        Some(exact) if identities.is_empty() || *identities == exact => {
            *identities = exact;
            *matchers = vec![exactly(OWN)];
        }
        _ => exact_names(matchers).for_each(escape),
    }
}

fn exactly(name: &str) -> StringMatcher {
    StringMatcher { match_pattern: Some(MatchPattern::Exact(name.to_owned())), ignore_case: false }
}

fn is_own(matchers: &[StringMatcher]) -> bool {
    matches!(matchers, [StringMatcher { match_pattern: Some(MatchPattern::Exact(name)), .. }] if name == OWN)
}

/// Returns the part of the metadata that this client reads; `None` if there is none.
fn read_of(mut metadata: Metadata) -> Option<Metadata> {
    const READ: [&str; 4] = ["alpn_override", "config", "external", "services"];
    let mut istio = metadata.filter_metadata.remove("istio")?;
    istio.fields.retain(|key, _| READ.contains(&&**key));
    for service in services(Some(&mut istio)) {
        service.fields.retain(|key, _| key == "host");
    }
    (!istio.fields.is_empty()).then(|| Metadata { filter_metadata: [("istio".to_owned(), istio)].into() })
}

fn services(istio: Option<&mut Struct>) -> impl Iterator<Item = &mut Struct> {
    let services = istio.and_then(|istio| istio.fields.get_mut("services"));
    let values: &mut [Value] = match services.and_then(|services| services.kind.as_mut()) {
        Some(Kind::ListValue(ListValue { values })) => values,
        _ => &mut [],
    };
    values.iter_mut().filter_map(|service| match service.kind.as_mut() {
        Some(Kind::StructValue(service)) => Some(service),
        _ => None,
    })
}

fn hosts(metadata: Option<&mut Metadata>) -> impl Iterator<Item = &mut String> {
    services(metadata.and_then(|metadata| metadata.filter_metadata.get_mut("istio"))).filter_map(|service| {
        match service.fields.get_mut("host")?.kind.as_mut()? {
            Kind::StringValue(host) => Some(host),
            _ => None,
        }
    })
}
