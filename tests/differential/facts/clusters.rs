//! A cluster as fields that decide a connection (istio `cluster_builder.go`, `cluster_tls.go`).

use mesh_sandbox::address_book::AddressBook;
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

/// Returns all compared fields.
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
        let options: HttpProtocolOptions = any::unpack(options).expect("protocol options");
        fields.set(key, format!("{:?}", options.upstream_protocol_options));
        fields.set(format!("{key}: connections"), format!("{:?}", options.common_http_protocol_options));
        let names = options.upstream_http_protocol_options.unwrap_or_default();
        fields.set(format!("{key}: names from the request host"), format!("{names:?}"));
    }
    fields.set("load balancing settings", format!("{:?}", cluster.lb_config));
    fields.set("common load balancing settings", format!("{:?}", cluster.common_lb_config));
    fields.set("circuit breakers", format!("{:?}", cluster.circuit_breakers));
    fields.set("outlier detection", format!("{:?}", cluster.outlier_detection));
    fields.set("connections", format!("{:?}", cluster.upstream_connection_options));
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
        // istiod scales the weights by numbers of gateways that may be outdated (`NetworkManager.reload` misses the
        // last change for DNS clusters), so only the ratios of the weights are compared.
        fields.nest("hosts", endpoints::fields(&endpoints::reduced(assignment), book));
    }
    fields
}
