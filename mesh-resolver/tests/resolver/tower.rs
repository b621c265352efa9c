//! Tests of the tower service.

use mesh_resolver::{ErrorKind, Upstream, tower::LookupService};
use tower::{ServiceBuilder, ServiceExt as _};

use crate::{
    mesh::{FORECAST, Mesh},
    name_server::ips,
};

#[tokio::test]
async fn the_service_composes_with_tower_layers() {
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let service = LookupService::new(mesh.resolver(Upstream::none()));
    let service = ServiceBuilder::new().concurrency_limit(1).service(service);
    let found = service.clone().oneshot("forecast.weather".to_owned()).await.unwrap();
    assert_eq!(found.addresses(), ips(&["10.1.2.3"]));
    let error = service.oneshot("www.example.org".to_owned()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameNotFound);
}
