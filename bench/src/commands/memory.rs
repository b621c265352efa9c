//! The memory of a mesh, measured in separate processes.

mod mesh;

use std::{fs, hint::black_box};

use nds_client::{resources::name_table::NameTable, watch::WatchSender};
use serde_json::{Value, json};

pub(super) use self::mesh::many;
use crate::{
    Failure, child,
    fixture::{NAMES, name_table},
    process::{forget_peak, peak, private_dirty, resident},
    report::{Budget, Report},
    samples::Samples,
    unit::Unit,
};

pub(super) const ABOUT: &str =
    "100 000 names, after a push and at its peak; a mesh client compared with a sidecar";

const ROUNDS: usize = 5;

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let file = std::env::temp_dir().join(format!("mesh-bench-{}.nds", std::process::id()));
    fs::write(&file, name_table(NAMES))?;
    let found: Result<Vec<_>, _> =
        (0..ROUNDS).map(|_| child::ask("memory", &file.display().to_string())).collect();
    let wire = fs::metadata(&file)?.len();
    fs::remove_file(&file)?;
    let found = found?;
    let figures = |key: &str| -> Samples { found.iter().filter_map(|found| found[key].as_f64()).collect() };
    let names = f64::from(NAMES);
    let per_name: Samples =
        found.iter().filter_map(|found| Some(found["settled"].as_f64()? / names)).collect();
    let table = per_name.median() * names;
    report.row("per name of 100 000, after a push", Unit::Bytes, per_name).within(Budget::Ours(150.0));
    report.row("the same after ten identical pushes", Unit::Bytes, figures("identical"));
    #[allow(clippy::cast_precision_loss, reason = "some megabytes")]
    report
        .row("100 000 names, peak of a push over an earlier one", Unit::Bytes, figures("peak"))
        .within(Budget::Ours(wire as f64 + 2.0 * table));
    mesh::run(report)
}

/// Two pushes in separate buffers; or, for other arguments, a mesh client.
pub(super) fn child(file: &str) -> Result<String, Failure> {
    if let Some(files) = file.strip_prefix("mesh:") {
        return mesh::child(files);
    }
    let before = private_dirty()?;
    let table = WatchSender::new(NameTable::default());
    let push = || -> Result<(), Failure> {
        table.send(NameTable::decode(&fs::read(file)?)?);
        Ok(())
    };
    push()?;
    let settled = private_dirty()? - before;
    let empty = resident()? - settled;
    forget_peak()?;
    push()?;
    let peak = peak()? - empty;
    for _ in 0..9 {
        push()?;
    }
    let identical = private_dirty()? - before;
    black_box(table.load().len());
    let found: Value = json!({"settled": settled, "peak": peak, "identical": identical});
    Ok(found.to_string())
}
