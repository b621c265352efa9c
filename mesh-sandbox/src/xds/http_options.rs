//! `HttpProtocolOptions`: which HTTP a cluster speaks (istio `cluster_builder.go`, `setUpstreamProtocol`).

use xds_proto::any;
use xds_proto::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use xds_proto::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, Protocol as HttpProtocol, UpstreamProtocolOptions, UseDownstreamHttpConfig,
    explicit_http_config,
};
use xds_proto::google::protobuf::Any;
use xds_proto::type_url;

use super::policy::Settings;
use crate::model::Protocol;
use crate::yaml::destination_rule::H2Upgrade;

/// The key of the options in a cluster.
pub(super) const KEY: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// `upstream_http_protocol_options`, a field of the original that [`HttpProtocolOptions`] here does not have.
const UPSTREAM: u8 = 2 << 3 | 2;

/// The options of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HttpOptions {
    protocol: Option<Spoken>,
    /// The server name comes from the request.
    pub(super) auto_sni: bool,
    /// So does the name that the certificate must have.
    pub(super) auto_san_validation: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Http2,
    /// Whatever the client speaks.
    AsTheClient,
}

impl HttpOptions {
    pub(super) fn of(protocol: Protocol, settings: &Settings<'_>, is_router: bool) -> Self {
        let http = settings.connection_pool.map(|pool| &pool.http);
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
        Self { protocol, ..Self::default() }
    }

    /// Whatever the client speaks.
    pub(super) fn as_the_client() -> Self {
        Self { protocol: Some(Spoken::AsTheClient), ..Self::default() }
    }

    pub(super) fn is_http2(self) -> bool {
        self.protocol == Some(Spoken::Http2)
    }

    /// The message; none where there is nothing to say.
    pub(super) fn pack(self) -> Option<Any> {
        if self == Self::default() {
            return None;
        }
        // Envoy wants one of them where there are options at all.
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
        let options = HttpProtocolOptions { upstream_protocol_options: Some(protocol) };
        let mut any = any::pack(type_url::HTTP_PROTOCOL_OPTIONS, &options);
        let flags = [(1, self.auto_sni), (2, self.auto_san_validation)];
        let flags: Vec<u8> =
            flags.iter().filter(|(_, is_set)| *is_set).flat_map(|(number, _)| [number << 3, 1]).collect();
        if let (Ok(length), false) = (u8::try_from(flags.len()), flags.is_empty()) {
            any.value = [&any.value[..], &[UPSTREAM, length], &flags].concat().into();
        }
        Some(any)
    }
}
