//! The message `HttpProtocolOptions`: the HTTP version of a cluster (istio `cluster_builder.go`,
//! `setUpstreamProtocol`).

use xds_proto::any;
use xds_proto::envoy::config::core::v3::{HttpProtocolOptions as CommonOptions, UpstreamHttpProtocolOptions};
use xds_proto::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use xds_proto::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, Protocol as HttpProtocol, UpstreamProtocolOptions, UseDownstreamHttpConfig,
    explicit_http_config,
};
use xds_proto::google::protobuf::{Any, Duration, UInt32Value};
use xds_proto::type_url;

use super::policy::Settings;
use super::structs::duration;
use crate::model::Protocol;
use crate::yaml::destination_rule::{ConnectionPool, H2Upgrade};

/// The key of the options in a cluster.
pub(super) const KEY: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The HTTP protocol options of an xDS cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HttpOptions {
    protocol: Option<Spoken>,
    /// Whether the SNI is the host of the request.
    pub(super) auto_sni: bool,
    /// Whether the expected SAN is the host of the request.
    pub(super) auto_san_validation: bool,
    /// The idle timeout and the limits of connections.
    common: Option<CommonOptions>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Http2,
    /// The HTTP version that the client of the proxy uses.
    AsTheClient,
}

impl HttpOptions {
    pub(super) fn of(protocol: Protocol, settings: &Settings<'_>, is_router: bool) -> Self {
        let http = settings.connection_pool.map(ConnectionPool::http);
        let declared = match protocol {
            _ if protocol.is_http2() => Some(Spoken::Http2),
            // Gateways do not detect protocols.
            Protocol::Unsupported if !is_router => Some(Spoken::AsTheClient),
            _ => None,
        };
        let protocol = match http {
            Some(http) if http.use_client_protocol => Some(Spoken::AsTheClient),
            Some(http) if http.h2_upgrade_policy == H2Upgrade::Upgrade => declared.or(Some(Spoken::Http2)),
            _ => declared,
        };
        Self { protocol, common: common(settings), ..Self::default() }
    }

    /// Returns the options of passthrough clusters: the protocol of the client, and an idle timeout of five minutes.
    pub(super) fn passed_through() -> Self {
        let idle_timeout = Some(Duration { seconds: 300, nanos: 0 });
        let common = Some(CommonOptions { idle_timeout, ..CommonOptions::default() });
        Self { protocol: Some(Spoken::AsTheClient), common, ..Self::default() }
    }

    pub(super) fn is_http2(self) -> bool {
        self.protocol == Some(Spoken::Http2)
    }

    /// Returns the options as a message `HttpProtocolOptions`, or `None` if no option is set.
    pub(super) fn pack(self) -> Option<Any> {
        if self == Self::default() {
            return None;
        }
        // Envoy requires a protocol if the message is present.
        let protocol = match self.protocol {
            None => {
                let protocol =
                    explicit_http_config::ProtocolConfig::HttpProtocolOptions(HttpProtocol::default());
                UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                    protocol_config: Some(protocol),
                })
            }
            Some(Spoken::Http2) => UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(explicit_http_config::ProtocolConfig::Http2ProtocolOptions(
                    HttpProtocol::default(),
                )),
            }),
            Some(Spoken::AsTheClient) => {
                UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig::default())
            }
        };
        let names = UpstreamHttpProtocolOptions {
            auto_sni: self.auto_sni,
            auto_san_validation: self.auto_san_validation,
        };
        let options = HttpProtocolOptions {
            common_http_protocol_options: self.common,
            upstream_http_protocol_options: (names != UpstreamHttpProtocolOptions::default())
                .then_some(names),
            upstream_protocol_options: Some(protocol),
        };
        Some(any::pack(type_url::HTTP_PROTOCOL_OPTIONS, &options))
    }
}

/// Returns the idle timeout and the limits of connections in the DestinationRule, or `None` if it sets none (istio
/// `applyConnectionPool`).
fn common(settings: &Settings<'_>) -> Option<CommonOptions> {
    let pool = settings.connection_pool?;
    let options = CommonOptions {
        idle_timeout: pool.http().idle_timeout.or(pool.tcp().idle_timeout).map(duration),
        max_connection_duration: pool.tcp().max_connection_duration.map(duration),
        max_requests_per_connection: Some(pool.http().max_requests_per_connection)
            .filter(|requests| *requests > 0)
            .map(|value| UInt32Value { value }),
    };
    (options != CommonOptions::default() || pool.http().max_concurrent_streams > 0).then_some(options)
}
