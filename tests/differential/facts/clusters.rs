//! A cluster as fields: what decides a connection (facts J.4).

use mesh_sandbox::AddressBook;
use prost::Message;
use xds_proto::{
    any,
    envoy::{
        config::cluster::v3::{
            Cluster,
            cluster::{ClusterDiscoveryType, DiscoveryType},
        },
        extensions::upstreams::http::v3::HttpProtocolOptions,
    },
};

use super::{Fields, endpoints, metadata, sockets};

/// The part of `HttpProtocolOptions` that no crate of ours decodes.
#[derive(Clone, PartialEq, Message)]
struct UpstreamNames {
    #[prost(message, optional, tag = "2")]
    upstream_http_protocol_options: Option<Names>,
}

#[derive(Clone, PartialEq, Message)]
struct Names {
    #[prost(bool, tag = "1")]
    auto_sni: bool,
    #[prost(bool, tag = "2")]
    auto_san_validation: bool,
}

/// Everything that is compared.
pub(crate) fn fields(cluster: &Cluster, book: Option<&AddressBook>) -> Fields {
    let mut fields = Fields::default();
    fields.set("name", &cluster.name);
    fields.set(
        "type",
        match &cluster.cluster_discovery_type {
            Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(*kind)
                .map_or_else(|_| kind.to_string(), |kind| kind.as_str_name().to_owned()),
            other => format!("{other:?}"),
        },
    );
    if let Some(eds) = &cluster.eds_cluster_config {
        fields.set("EDS service name", &eds.service_name);
    }
    let timeout =
        cluster.connect_timeout.map_or("none".to_owned(), |it| format!("{}.{:09}s", it.seconds, it.nanos));
    fields.set("connect timeout", timeout);
    fields.set("load balancing", cluster.lb_policy().as_str_name());
    metadata::fields(cluster.metadata.as_ref(), &mut fields);
    for (key, options) in &cluster.typed_extension_protocol_options {
        let protocol: HttpProtocolOptions = any::unpack(options).expect("protocol options");
        fields.set(key, format!("{:?}", protocol.upstream_protocol_options));
        let names: UpstreamNames = any::unpack(options).expect("protocol options");
        let names = names.upstream_http_protocol_options.unwrap_or_default();
        fields.set(format!("{key}: server name from the request"), names.auto_sni.to_string());
        fields.set(
            format!("{key}: certificate's name from the request"),
            names.auto_san_validation.to_string(),
        );
    }
    if let Some(socket) = &cluster.transport_socket {
        fields.nest("transport socket", sockets::fields(socket));
    }
    for (index, matched) in cluster.transport_socket_matches.iter().enumerate() {
        let part = format!("transport socket match {index}");
        fields.set(format!("{part}: name"), &matched.name);
        if let Some(criteria) = &matched.r#match {
            metadata::of_struct(&format!("{part}: match"), criteria, &mut fields);
        }
        if let Some(socket) = &matched.transport_socket {
            fields.nest(&part, sockets::fields(socket));
        }
    }
    if let Some(assignment) = &cluster.load_assignment {
        fields.nest("hosts", endpoints::fields(assignment, book));
    }
    fields
}
