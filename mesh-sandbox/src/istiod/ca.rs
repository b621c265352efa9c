//! The gRPC service `IstioCertificateService` (istio `security/pkg/server/ca/server.go`).

use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Request, Response, Status};
use xds_proto::istio::v1::auth::istio_certificate_service_server::IstioCertificateService;
use xds_proto::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};

use super::Shared;
use crate::events::Event;
use crate::pki::{Lifetime, Subject, csr};

/// The certificate service of istiod.
#[derive(Debug)]
pub(crate) struct CertificateService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl IstioCertificateService for CertificateService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        self.0.wait_for_delay().await;
        let caller = self.0.authenticate(request.metadata(), request.extensions()).map_err(|reason| {
            self.0.events.record(Event::CertificateRefused { reason });
            Status::unauthenticated("request authenticate failure")
        })?;
        let refused = |code: Code, problem: String| {
            self.0.events.record(Event::CertificateRefused { reason: problem.clone() });
            Status::new(code, format!("CSR signing error ({problem})"))
        };
        let request = request.into_inner();
        let key =
            csr::verified_key(&request.csr).map_err(|problem| refused(Code::InvalidArgument, problem))?;
        let lifetime = self
            .lifetime(request.validity_duration)
            .map_err(|problem| refused(Code::InvalidArgument, problem))?;
        // The names in the CSR are ignored: the certificate contains the authenticated identity.
        let subject = Subject::Spiffe(caller.identity.clone());
        let certificate = self
            .0
            .authority
            .issue(&key, &subject, Lifetime::For(lifetime))
            .map_err(|error| refused(Code::Internal, error.to_string()))?;
        self.0.events.record(Event::CertificateIssued {
            identity: caller.identity,
            proof: caller.proof,
            lifetime,
        });
        // The leaf certificate, then all roots as one element (istio `security/pkg/server/ca/server.go`).
        let cert_chain = vec![certificate.pem(), self.0.authority.root_pem().to_owned()];
        Ok(Response::new(IstioCertificateResponse { cert_chain }))
    }
}

impl CertificateService {
    /// Returns the lifetime of the certificate. A request without a lifetime gets the default. A lifetime above the
    /// maximum is an error (istio `security/pkg/pki/ca/ca.go`).
    fn lifetime(&self, seconds: i64) -> Result<Duration, String> {
        let requested = match u64::try_from(seconds) {
            Ok(0) | Err(_) => return Ok(self.0.ttl.default),
            Ok(seconds) => Duration::from_secs(seconds),
        };
        let max = self.0.ttl.max;
        if requested > max {
            return Err(format!(
                "requested TTL {} is greater than the max allowed TTL {}",
                go_duration(requested),
                go_duration(max)
            ));
        }
        Ok(requested)
    }
}

/// Formats a duration as Go does: `2400h0m0s`.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}
