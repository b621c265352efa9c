//! Long streams in both directions, compared with a minimal TLS client in a process with the same threads.

use super::{
    Program,
    bare::{self, Client, How, Plain},
};
use crate::{
    Failure,
    bare::Bare,
    peers::{HOST, PORT},
    process::process_time,
    report::{Budget, Report},
    rounds::tried,
    unit::Unit,
};

const ROUNDS: usize = 25;
/// The length of a stream.
const BYTES: usize = 1 << 30;

#[derive(Clone, Copy, Debug)]
enum Direction {
    Receive,
    Send,
}

/// The direction, and the chunk size of the program.
const PATTERNS: [(Direction, usize); 5] = [
    (Direction::Receive, 64 << 10),
    (Direction::Receive, 16 << 10),
    (Direction::Send, 64 << 10),
    (Direction::Send, 16 << 10),
    (Direction::Send, 1 << 10),
];

pub(super) fn run(report: &mut Report, program: &Program, bare: &Bare) -> Result<(), Failure> {
    let ways = [
        (How::Unix, "a descriptor", "bare tokio-rustls into a Unix pair", 1.1),
        (How::Tcp, "a TCP descriptor", "bare tokio-rustls into a TCP pair", 1.1),
        (How::Stream, "a stream", "bare tokio-rustls", 1.05),
    ];
    for (how, what, peer, most) in ways {
        let runtime = bare::runtime(how)?;
        let client = Client::new(bare, how, &runtime);
        for (direction, chunk) in PATTERNS {
            let mut ours = Ours { program, how, direction, chunk, left: 0 };
            let mut theirs =
                Theirs { client: &client, direction, buffer: vec![b'x'; chunk], open: None, left: 0 };
            let [[figures], [their_figures]] =
                tried(ROUNDS, [Box::new(|| ours.part()), Box::new(|| theirs.part())])?;
            let verb = match direction {
                Direction::Receive => "read",
                Direction::Send => "written",
            };
            report
                .row(&format!("CPU per byte {verb}, {what}, {} KiB", chunk >> 10), Unit::Nanoseconds, figures)
                .beside(peer, &their_figures)
                .within(Budget::Ratio(most));
        }
    }
    Ok(())
}

/// Returns the number of bytes per round, which is lower for slower patterns.
fn part(chunk: usize) -> usize {
    if chunk < 4096 { 4 << 20 } else { 32 << 20 }
}

/// Returns the head of a request. A POST to `/` accepts any body.
fn head(direction: Direction, end_of_line: &str) -> String {
    let host = format!("Host: {HOST}:{PORT}{end_of_line}");
    match direction {
        Direction::Receive => format!("GET /bytes/{BYTES} HTTP/1.1{end_of_line}{host}{end_of_line}"),
        Direction::Send => {
            format!("POST / HTTP/1.1{end_of_line}{host}Content-Length: {BYTES}{end_of_line}{end_of_line}")
        }
    }
}

struct Ours<'a> {
    program: &'a Program,
    how: How,
    direction: Direction,
    chunk: usize,
    left: usize,
}

impl Ours<'_> {
    /// Returns the CPU time per byte, in nanoseconds, of the next part. After its end, the stream is opened again.
    fn part(&mut self) -> Result<[f64; 1], Failure> {
        let (part, chunk) = (part(self.chunk), self.chunk);
        if self.left < part {
            let how = match self.how {
                How::Unix => "unix",
                How::Tcp => "tcp",
                How::Stream => "stream",
            };
            let [] = self.program.ask(&format!("transfer open 0 {how} {}", head(self.direction, "|")))?;
            self.left = BYTES;
        }
        let direction = match self.direction {
            Direction::Receive => "receive",
            Direction::Send => "send",
        };
        let [per_byte, passed] = self.program.ask(&format!("transfer {direction} 0 {part} {chunk}"))?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
        let passed = passed as usize;
        self.left = self.left.saturating_sub(passed);
        Ok([per_byte])
    }
}

struct Theirs<'a> {
    client: &'a Client<'a>,
    direction: Direction,
    buffer: Vec<u8>,
    open: Option<Box<dyn Plain + 'a>>,
    left: usize,
}

impl Theirs<'_> {
    fn part(&mut self) -> Result<[f64; 1], Failure> {
        let part = part(self.buffer.len());
        if self.left < part {
            let mut stream = self.client.connect()?;
            stream.write_all(head(self.direction, "\r\n").as_bytes())?;
            (self.open, self.left) = (Some(stream), BYTES);
        }
        let stream = self.open.as_mut().ok_or("no stream")?;
        let (before, mut passed) = (process_time(), 0);
        while passed < part {
            passed += match self.direction {
                Direction::Receive => stream.read(&mut self.buffer)?,
                Direction::Send => stream.write_all(&self.buffer).map(|()| self.buffer.len())?,
            };
        }
        self.left = self.left.saturating_sub(passed);
        Ok([(process_time() - before) / passed as f64])
    }
}
