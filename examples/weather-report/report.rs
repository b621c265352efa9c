//! The logic of the application: it calls two services of the mesh and combines their answers.

use http_body_util::{BodyExt as _, Empty};
use hyper::{Uri, body::Bytes};
use mesh_connector::{Mesh, hyper::HttpClient};

/// The report of the forecast. The archive is optional.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// The pod that made the forecast.
    pub(crate) forecast_by: String,
    /// The pod that has the archive.
    pub(crate) archive_by: Option<String>,
}

/// Calls both services.
///
/// # Errors
///
/// The forecast failed: the error of the connection contains the cause.
pub(crate) async fn report(mesh: &Mesh) -> Result<Report, Box<dyn std::error::Error>> {
    let client = mesh.http_client();
    let (forecast, archive) = tokio::join!(
        get(&client, "http://forecast.weather:3002/today"),
        get(&client, "http://archive.weather:3003/today"),
    );
    if let Err(error) = &archive {
        anstream::eprintln!("the archive is not available: {error}");
    }
    Ok(Report { forecast_by: forecast?, archive_by: archive.ok() })
}

/// Returns the name of the pod that answered.
async fn get(client: &HttpClient<Empty<Bytes>>, url: &str) -> Result<String, Box<dyn std::error::Error>> {
    let response = client.get(url.parse::<Uri>()?).await?;
    let body = response.into_body().collect().await?.to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&body)?;
    Ok(answer["pod"].as_str().unwrap_or_default().to_owned())
}
