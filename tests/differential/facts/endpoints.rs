//! The endpoints of a cluster as fields.

use mesh_sandbox::address_book::AddressBook;
use xds_proto::envoy::config::{
    core::v3::{Locality, address::Address, socket_address::PortSpecifier},
    endpoint::v3::{ClusterLoadAssignment, LbEndpoint, lb_endpoint::HostIdentifier},
};

use super::{Fields, metadata};

/// Returns the fields of all localities and endpoints.
pub(crate) fn fields(assignment: &ClusterLoadAssignment, book: Option<&AddressBook>) -> Fields {
    let mut fields = Fields::default();
    fields.set("cluster name", &assignment.cluster_name);
    let mut localities: Vec<_> = assignment.endpoints.iter().collect();
    localities.sort_by_key(|group| (name(group.locality.as_ref()), group.priority));
    for group in localities {
        let locality = format!("locality {}", name(group.locality.as_ref()));
        fields.set(format!("{locality}, priority"), group.priority.to_string());
        let weight = group.load_balancing_weight.map_or("none".to_owned(), |weight| weight.value.to_string());
        fields.set(format!("{locality}, weight"), weight);
        let mut endpoints: Vec<_> =
            group.lb_endpoints.iter().map(|it| (address(it, book), endpoint(it))).collect();
        endpoints.sort_by(|a, b| (&a.0, &a.1.0).cmp(&(&b.0, &b.1.0)));
        for (index, (address, of_endpoint)) in endpoints.iter().enumerate() {
            let same = endpoints[..index].iter().filter(|(other, _)| other == address).count();
            let number = if same == 0 { String::new() } else { format!(" #{}", same + 1) };
            for (field, value) in &of_endpoint.0 {
                fields.set(format!("{locality}, {address}{number}: {field}"), value);
            }
        }
    }
    fields
}

/// Returns the assignment with the smallest weights of the same ratios.
pub(crate) fn reduced(assignment: &ClusterLoadAssignment) -> ClusterLoadAssignment {
    let mut reduced = assignment.clone();
    let all = |assignment: &mut ClusterLoadAssignment, each: &mut dyn FnMut(&mut u32)| {
        for group in &mut assignment.endpoints {
            let weights = group.lb_endpoints.iter_mut().map(|it| &mut it.load_balancing_weight);
            for weight in weights.chain([&mut group.load_balancing_weight]).flatten() {
                each(&mut weight.value);
            }
        }
    };
    let mut divisor = 0;
    all(&mut reduced, &mut |weight| divisor = greatest_common_divisor(divisor, *weight));
    all(&mut reduced, &mut |weight| *weight /= divisor.max(1));
    reduced
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn name(locality: Option<&Locality>) -> String {
    locality.map_or("none".to_owned(), |it| format!("{}/{}/{}", it.region, it.zone, it.sub_zone))
}

fn endpoint(endpoint: &LbEndpoint) -> Fields {
    let mut fields = Fields::default();
    fields.set("health", endpoint.health_status().as_str_name());
    let weight = endpoint.load_balancing_weight.map_or("none".to_owned(), |weight| weight.value.to_string());
    fields.set("weight", weight);
    metadata::fields(endpoint.metadata.as_ref(), &mut fields);
    if let Some(HostIdentifier::Endpoint(host)) = &endpoint.host_identifier {
        fields.set("host name", &host.hostname);
    }
    fields
}

/// Returns the addresses of an endpoint. Loopback addresses of the sandbox are replaced by those in the YAML.
fn address(endpoint: &LbEndpoint, book: Option<&AddressBook>) -> String {
    let Some(HostIdentifier::Endpoint(host)) = &endpoint.host_identifier else {
        return format!("{:?}", endpoint.host_identifier);
    };
    let further = host.additional_addresses.iter().filter_map(|it| it.address.as_ref());
    let all = host.address.iter().chain(further).map(|address| match &address.address {
        Some(Address::SocketAddress(socket)) => match socket.port_specifier {
            Some(PortSpecifier::PortValue(port)) => of_yaml(&socket.address, port, book),
            _ => format!("{socket:?}"),
        },
        Some(Address::EnvoyInternalAddress(internal)) => {
            format!("{:?} {}", internal.address_name_specifier, internal.endpoint_id)
        }
        other => format!("{other:?}"),
    });
    all.collect::<Vec<_>>().join(" + ")
}

fn of_yaml(address: &str, port: u32, book: Option<&AddressBook>) -> String {
    let socket = format!("{address}:{port}").parse().ok();
    match book.zip(socket).and_then(|(book, socket)| book.yaml(socket)) {
        Some(yaml) => format!("{}:{}", yaml.address, yaml.port),
        None => format!("{address}:{port}"),
    }
}
