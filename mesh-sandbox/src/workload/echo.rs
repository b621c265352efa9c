//! An echo server: answers each line with `<workload>: <line>`.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::caller::Caller;

/// The maximum length of a line. A longer line is answered in parts.
const LONGEST: u64 = 64 * 1024;

pub(crate) async fn run(caller: &Caller, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut answer = format!("{}: ", caller.workload).into_bytes();
        match (&mut reader).take(LONGEST).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => answer.extend_from_slice(&line),
        }
        if !answer.ends_with(b"\n") {
            answer.push(b'\n');
        }
        if writer.write_all(&answer).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}
