//! An application in the mesh: a report from two services. `examples/tests/weather_report.rs` shows how it is tested
//! with the sandbox.
//!
//! ```text
//! $ weather-report ./vm
//! forecast by forecast-2a, archive by archive-2a
//! ```

#![forbid(unsafe_code)]

mod report;

use std::error::Error;

use mesh_connector::{Config, Mesh};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let vm_files = std::env::args().nth(1).ok_or("usage: weather-report VM-FILES")?;
    let mesh = Mesh::join(Config::from_vm_files(vm_files)?).await?;
    let report = report::report(&mesh).await?;
    let archive = report.archive_by.map_or("no archive".to_owned(), |by| format!("archive by {by}"));
    anstream::println!("forecast by {}, {archive}", report.forecast_by);
    Ok(())
}
