//! The memory of a thousand connections, compared with the same number of the connector in Rust.

use mesh_connector::{Config, Mesh, Protocol, Target};
use mesh_tests::vm_files::Vm;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Program;
use crate::{
    Failure, child,
    peers::{self, HOST, PORT, Stage},
    process::{private_dirty, private_dirty_of},
    report::Report,
    samples::Samples,
    unit::Unit,
};

const MANY: usize = 1000;
const REQUEST: &[u8] = b"GET /bytes/1024 HTTP/1.1\r\nHost: forecast\r\n\r\n";

pub(super) fn run(report: &mut Report, program: &Program, stage: &Stage) -> Result<(), Failure> {
    let [] = program.ask("hold open unix 10")?;
    let [_, _] = program.ask::<2>("hold exchange 0")?;
    let before = private_dirty_of(program.pid())?;
    let [] = program.ask(&format!("hold open unix {MANY}"))?;
    let [least, most] = program.ask("hold exchange 2")?;
    let ours = (private_dirty_of(program.pid())? - before) / MANY as f64;
    let [] = program.ask("hold close 0")?;
    let files = stage.real.vm_files(&Vm::default());
    let found = child::ask("ffi", &format!("ffi-{}", files.display()))?;
    let theirs = found["each"].as_f64().ok_or("no figure")?;
    report
        .row("memory of a descriptor, of 1000", Unit::Bytes, Samples::once(ours))
        .beside("a MeshStream", &Samples::once(theirs));
    report
        .row("answers of the slowest of 1000 descriptors", Unit::Count, Samples::once(least))
        .beside("the fastest", &Samples::once(most));
    Ok(())
}

/// Opens a thousand connections of the connector and sends a request over each.
pub(super) fn child(files: &str) -> Result<String, Failure> {
    let runtime = peers::one_thread()?;
    let each = runtime.block_on(async {
        let mesh = Mesh::join(Config::from_vm_files(files)?).await?;
        let target = Target::new(HOST, PORT)?.with_protocol(Protocol::Http1);
        let mut held = Vec::new();
        let mut before = 0.0;
        for at in 0..MANY + 10 {
            if at == 10 {
                before = private_dirty()?;
            }
            let mut stream = mesh.connect_to(&target).await?;
            stream.write_all(REQUEST).await?;
            let (mut buffer, mut length) = ([0; 4096], 0);
            while length < 1024 {
                length += stream.read(&mut buffer[length..]).await?;
            }
            held.push(stream);
        }
        Ok::<_, Failure>((private_dirty()? - before) / MANY as f64)
    })?;
    Ok(json!({"each": each}).to_string())
}
