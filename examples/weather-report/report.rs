//! What the application does: it asks two services of the mesh, and makes one answer of it.

use http_body_util::{BodyExt as _, Empty};
use hyper::{Uri, body::Bytes};
use mesh_connector::{HttpClient, Mesh};

/// The forecast is the report; the archive is left out where it cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Who made the forecast.
    pub(crate) forecast_by: String,
    /// Who keeps the archive.
    pub(crate) archive_by: Option<String>,
}

/// Asks for both.
///
/// # Errors
///
/// The forecast cannot be had: the connection's error says why.
pub(crate) async fn report(mesh: &Mesh) -> Result<Report, Box<dyn std::error::Error>> {
    let client = mesh.http_client();
    let (forecast, archive) = tokio::join!(
        get(&client, "http://forecast.weather:3002/today"),
        get(&client, "http://archive.weather:3003/today"),
    );
    if let Err(error) = &archive {
        anstream::eprintln!("no archive in this report: {error}");
    }
    Ok(Report { forecast_by: forecast?, archive_by: archive.ok() })
}

/// The pod that answered.
async fn get(client: &HttpClient<Empty<Bytes>>, url: &str) -> Result<String, Box<dyn std::error::Error>> {
    let response = client.get(url.parse::<Uri>()?).await?;
    let body = response.into_body().collect().await?.to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&body)?;
    Ok(answer["pod"].as_str().unwrap_or_default().to_owned())
}
