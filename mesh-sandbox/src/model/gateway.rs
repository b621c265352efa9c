//! East-west gateways: their addresses (Kubernetes Services) and the services that they expose (Istio Gateways).

use std::collections::BTreeMap;

use super::host::is_subset;
use super::network_gateway::NetworkGateway;
use super::networks::{NETWORK_LABEL, Networks};
use super::pods::Pods;
use super::{Service, each, selects};
use crate::error::Result;
use crate::yaml::kubernetes::{self, Labels};
use crate::yaml::{Key, Manifest, Object, istio};

/// The default port of mTLS between networks; a label can override it (istio
/// `pilot/pkg/serviceregistry/kube/controller/network.go`).
const DEFAULT_PORT: u16 = 15443;
/// The port of the tunnels of ambient mode.
const HBONE_PORT: u16 = 15008;

/// A server of an Istio Gateway object, with TLS mode AUTO_PASSTHROUGH.
#[derive(Clone, Debug)]
pub(crate) struct GatewayServer {
    namespace: String,
    selector: Labels,
    port: u16,
    hosts: Vec<String>,
}

/// Returns the gateways of one cluster: services with a network label and an address (istio
/// `pilot/pkg/serviceregistry/kube/controller/network.go`).
pub(crate) fn gateways(
    cluster: &str,
    objects: &BTreeMap<Key, Manifest>,
    pods: &Pods<'_>,
    networks: &Networks,
) -> Vec<NetworkGateway> {
    let services = each(objects, |object| match object {
        Object::Service(service) => Some(service),
        _ => None,
    });
    services
        .flat_map(|(manifest, service)| {
            let roles = roles(cluster, manifest, service, networks).into_iter();
            roles.flat_map(|role| of_service(cluster, manifest, service, pods, &role)).collect::<Vec<_>>()
        })
        .collect()
}

/// Returns the networks that a gateway service leads into, with the gateway port for each network. If the service has a
/// network label, its entries in `meshNetworks.yaml` are ignored.
fn roles(
    cluster: &str,
    manifest: &Manifest,
    service: &kubernetes::Service,
    networks: &Networks,
) -> Vec<(String, u16)> {
    let label = |key: &str| manifest.labels().get(key).filter(|value| !value.is_empty());
    let Some(network) = label(NETWORK_LABEL) else {
        let Key { namespace, name, .. } = &manifest.key;
        return networks.led_into(cluster, &format!("{name}.{namespace}.svc.cluster.local"));
    };
    let wanted = label("networking.istio.io/gatewayPort").and_then(|port| port.parse().ok());
    let number = wanted.unwrap_or(DEFAULT_PORT);
    let has = |number: u16| service.spec.ports.iter().any(|port| port.port == number);
    match () {
        () if has(number) => vec![(network.clone(), number)],
        // A gateway for ambient mode only: it counts as a gateway, but sidecars do not use it.
        () if has(HBONE_PORT) => vec![(network.clone(), 0)],
        // A service whose label names a port that it does not have is not a gateway.
        () => Vec::new(),
    }
}

fn of_service(
    cluster: &str,
    manifest: &Manifest,
    service: &kubernetes::Service,
    pods: &Pods<'_>,
    (network, number): &(String, u16),
) -> Vec<NetworkGateway> {
    let number = *number;
    let target = service.spec.ports.iter().find(|port| port.port == number).map(|port| &port.target_port);
    let pod = pods.selected(&manifest.key.namespace, &service.spec.selector).next();
    let target_port = match (target, pod) {
        (Some(target), Some((_, pod))) => {
            super::pods::target_port(target.as_ref(), number, pod).unwrap_or(number)
        }
        (Some(Some(kubernetes::TargetPort::Number(target))), None) if *target > 0 => *target,
        _ => number,
    };
    let labels = pod.map_or(&service.spec.selector, |(pod, _)| pod.labels());
    let balancers =
        service.status.load_balancer.ingress.iter().filter_map(|ingress| {
            ingress.ip.as_ref().filter(|ip| !ip.is_empty()).or(ingress.hostname.as_ref())
        });
    let is_balancer = service.spec.kind.as_deref() == Some("LoadBalancer");
    let balancers = balancers.filter(|_| is_balancer);
    let addresses = balancers.chain(&service.spec.external_ips);
    addresses
        .map(|address| NetworkGateway {
            network: network.clone(),
            cluster: cluster.to_owned(),
            address: address.clone(),
            port: number,
            namespace: manifest.key.namespace.clone(),
            labels: Some(labels.clone()),
            target_port,
        })
        .collect()
}

/// Returns the servers of a Gateway object. Fails for a server that is not TLS with mode AUTO_PASSTHROUGH.
pub(crate) fn servers(manifest: &Manifest, gateway: &istio::Gateway) -> Result<Vec<GatewayServer>> {
    let mut servers = Vec::new();
    for server in &gateway.spec.servers {
        let mode = server.tls.as_ref().map_or("", |tls| tls.mode.as_str());
        if mode != "AUTO_PASSTHROUGH" || !server.port.protocol.eq_ignore_ascii_case("TLS") {
            return Err(manifest.invalid(format!(
                "server on port {} is {} with TLS mode {mode:?}; the sandbox supports only TLS with AUTO_PASSTHROUGH",
                server.port.number, server.port.protocol
            )));
        }
        servers.push(GatewayServer {
            namespace: manifest.key.namespace.clone(),
            selector: gateway.spec.selector.clone(),
            port: server.port.number,
            hosts: server.hosts.clone(),
        });
    }
    Ok(servers)
}

impl GatewayServer {
    /// Returns whether the gateway at the address `gateway` runs this server.
    pub(crate) fn is_on(&self, gateway: &NetworkGateway) -> bool {
        gateway.labels.as_ref().is_none_or(|labels| selects(&self.selector, labels))
            && (self.port == gateway.target_port || self.port == gateway.port)
    }

    /// Returns whether the server exposes `service`: the service must not be external, and a host of the server must
    /// match the host of the service (istio `pilot/pkg/networking/core/gateway.go`).
    pub(crate) fn exposes(&self, service: &Service) -> bool {
        !service.is_external && self.hosts.iter().any(|host| self.covers(host, service))
    }

    fn covers(&self, host: &str, service: &Service) -> bool {
        let (namespace, host) = host.split_once('/').unwrap_or(("*", host));
        let namespace_fits = match namespace {
            "*" => true,
            "." => self.namespace == service.namespace,
            namespace => namespace == service.namespace,
        };
        namespace_fits && is_subset(&service.host, host)
    }
}
