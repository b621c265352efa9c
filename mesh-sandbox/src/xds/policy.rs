//! The settings of a DestinationRule for one port and subset of a service (istio `GetPortLevelTrafficPolicy`,
//! `MergeTrafficPolicy`).

use crate::model::endpoint::TLS_MODE_ISTIO;
use crate::model::{Endpoint, Port, Rule, Service};
use crate::yaml::destination_rule::{
    ClientTls, ConnectionPool, LoadBalancer, LocalitySetting, OutlierDetection, ProxyProtocol, Simple,
    Subset, TlsMode, TrafficPolicy,
};
use crate::yaml::mesh_config::MeshConfig;

/// The service port and subset for which an xDS cluster is built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) service: &'a Service,
    pub(crate) port: &'a Port,
    pub(crate) rule: Option<&'a Rule>,
    pub(crate) subset: Option<&'a Subset>,
}

/// The settings of a DestinationRule that apply to a [`Target`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings<'a> {
    pub(crate) load_balancer: Option<&'a LoadBalancer>,
    pub(crate) connection_pool: Option<&'a ConnectionPool>,
    pub(crate) outlier_detection: Option<&'a OutlierDetection>,
    pub(crate) tls: Option<&'a ClientTls>,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
}

impl<'a> Target<'a> {
    pub(crate) fn subset_name(&self) -> &'a str {
        self.subset.map_or("", |subset| &subset.name)
    }

    /// Returns the settings that apply to the port and subset. Settings of the subset override the general settings of
    /// the rule.
    pub(crate) fn settings(&self) -> Settings<'a> {
        let policy = self.rule.and_then(|rule| rule.policy.as_ref());
        let general = policy.map(|policy| Settings::of_port(policy, self.port.number).0);
        let Some(own) = self.subset.and_then(|subset| subset.traffic_policy.as_ref()) else {
            return general.unwrap_or_default();
        };
        let (own, has_port) = Settings::of_port(own, self.port.number);
        match general {
            None => own,
            // Port-level settings replace the general settings completely, including fields that they do not set.
            Some(general) => Settings {
                load_balancer: own.load_balancer.or(general.load_balancer.filter(|_| !has_port)),
                connection_pool: own.connection_pool.or(general.connection_pool.filter(|_| !has_port)),
                outlier_detection: own.outlier_detection.or(general.outlier_detection.filter(|_| !has_port)),
                tls: own.tls.or(general.tls.filter(|_| !has_port)),
                proxy_protocol: own.proxy_protocol.or(general.proxy_protocol),
            },
        }
    }

    /// Returns whether clients use mutual TLS with an endpoint (istio `mtls_checker.go`). The TLS mode in a
    /// DestinationRule overrides PeerAuthentication, but an endpoint without a sidecar never has mTLS.
    pub(crate) fn is_mtls(&self, endpoint: &Endpoint) -> bool {
        match self.rule_mode() {
            Some(mode) => mode == TlsMode::IstioMutual && endpoint.tls_mode == TLS_MODE_ISTIO,
            None => endpoint.is_mtls(),
        }
    }

    /// Returns the TLS mode that the DestinationRule sets for the port and subset, or `None` if it sets none.
    fn rule_mode(&self) -> Option<TlsMode> {
        let mode = |policy: &TrafficPolicy| {
            let of_port = policy.port_level_settings.iter().filter(|it| it.port.number == self.port.number);
            let of_port = of_port.filter_map(|it| it.tls.as_ref()).next();
            of_port.or(policy.tls.as_ref()).map(|tls| tls.mode)
        };
        let own = self.subset.and_then(|subset| subset.traffic_policy.as_ref()).and_then(mode);
        own.or_else(|| self.rule.and_then(|rule| rule.policy.as_ref()).and_then(mode))
    }

    /// Returns whether the traffic policy selects the load balancer PASSTHROUGH. For an xDS cluster of a subset, only
    /// the policy of the subset counts. For other xDS clusters, the top-level policy of the DestinationRule counts.
    /// Port-level settings are ignored.
    pub(crate) fn is_passed_through(&self) -> bool {
        let policy = match self.subset {
            Some(subset) => subset.traffic_policy.as_ref(),
            None => self.rule.and_then(|rule| rule.policy.as_ref()),
        };
        let balancer = policy.and_then(|policy| policy.load_balancer.as_ref());
        balancer.is_some_and(|balancer| balancer.simple == Simple::Passthrough)
    }
}

impl<'a> Settings<'a> {
    /// Returns the locality settings that apply: those of the DestinationRule, or those of the mesh configuration if
    /// the rule has none (istio `GetEffectiveLbSetting`).
    pub(super) fn localities<'b>(&self, config: &'b MeshConfig) -> Option<&'b LocalitySetting>
    where
        'a: 'b,
    {
        let own = self.load_balancer.and_then(|balancer| balancer.locality_lb_setting.as_ref());
        own.or(config.locality_lb_setting.as_ref())
    }

    /// Returns the settings of a traffic policy for a port, and whether they are port-level settings.
    fn of_port(policy: &'a TrafficPolicy, port: u16) -> (Self, bool) {
        match policy.port_level_settings.iter().find(|it| it.port.number == port) {
            Some(of_port) => (
                Self {
                    load_balancer: of_port.load_balancer.as_ref(),
                    connection_pool: of_port.connection_pool.as_ref(),
                    outlier_detection: of_port.outlier_detection.as_ref(),
                    tls: of_port.tls.as_ref(),
                    proxy_protocol: None,
                },
                true,
            ),
            None => (
                Self {
                    load_balancer: policy.load_balancer.as_ref(),
                    connection_pool: policy.connection_pool.as_ref(),
                    outlier_detection: policy.outlier_detection.as_ref(),
                    tls: policy.tls.as_ref(),
                    proxy_protocol: policy.proxy_protocol,
                },
                false,
            ),
        }
    }
}
