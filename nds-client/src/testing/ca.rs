//! The certificate authority.

use std::{sync::atomic::Ordering, time::Duration};

use tonic::{Request, Response, Status};
use xds_proto::istio::v1::auth::{
    IstioCertificateRequest, IstioCertificateResponse,
    istio_certificate_service_server::IstioCertificateService,
};

use super::{
    ID,
    istiod::{Caller, Istiod},
};

pub(super) struct Ca(pub(super) Istiod);

impl Istiod {
    pub(super) fn authenticate<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let certified = request.extensions().get::<Caller>().is_some_and(|caller| caller.certified);
        let token = request.metadata().contains_key("authorization");
        let accepts_tokens = self.0.settings.lock().accepts_tokens;
        if certified || (token && accepts_tokens) {
            return Ok(());
        }
        Err(Status::unauthenticated("request authenticate failure"))
    }
}

#[tonic::async_trait]
impl IstioCertificateService for Ca {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        self.0.authenticate(&request)?;
        let settings = self.0.0.settings.lock();
        if !settings.signs {
            return Err(Status::internal("CSR signing error"));
        }
        let request = request.into_inner();
        *self.0.0.asked.lock() = Some(request.clone());
        let asked = Duration::from_secs(u64::try_from(request.validity_duration).unwrap());
        if asked > settings.max_ttl {
            return Err(Status::invalid_argument("requested TTL is greater than the max"));
        }
        let ttl = if asked.is_zero() { Duration::from_secs(24 * 3600) } else { asked };
        let leaf = settings.signer.sign(&request.csr, ID, ttl);
        self.0.0.issued.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(IstioCertificateResponse { cert_chain: vec![leaf, settings.bundle.clone()] }))
    }
}
