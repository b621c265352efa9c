//! A real PostgreSQL server, for clients that speak its protocol.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, copy_bidirectional},
    net::{TcpListener, UnixStream},
    process::{Child, Command},
    time::timeout,
};

use crate::apps::App;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a Unix socket. Dropping it stops the server.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    _server: Child,
}

/// Returns the folder of `initdb` and `postgres`, which Debian does not put into the path.
///
/// # Errors
///
/// The programs are not installed on this machine.
pub fn find() -> Result<PathBuf, String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = versions.map(|version| version.path().join("bin")).chain(std::env::split_paths(&path));
    let has_both = |dir: &PathBuf| ["initdb", "postgres"].iter().all(|file| dir.join(file).exists());
    all.find(has_both).ok_or_else(|| "no PostgreSQL server (Debian: postgresql)".to_owned())
}

impl Postgres {
    /// Starts a server with a new database `postgres` for the user `me`, without a password.
    pub async fn start() -> Self {
        let programs = find().expect("a PostgreSQL server");
        let dir = tempfile::tempdir().expect("a temporary folder");
        let root = user() == "0";
        if root {
            // The server refuses to run as root; Debian's package creates a user for it.
            let owned = Command::new("chown").arg("postgres").arg(dir.path()).status().await;
            assert!(owned.is_ok_and(|status| status.success()), "a folder of the user `postgres`");
        }
        let program = |name: &str| {
            let mut command = match root {
                false => Command::new(programs.join(name)),
                true => {
                    let mut command = Command::new("setpriv");
                    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
                    command.arg(programs.join(name));
                    command
                }
            };
            command.current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
            command
        };
        let data = dir.path().join("data");
        let mut initdb = program("initdb");
        initdb.args(["--auth=trust", "--username=me", "--no-locale", "--no-sync", "-D"]).arg(&data);
        let made = initdb.stdout(Stdio::null()).status().await;
        assert!(made.is_ok_and(|status| status.success()), "initdb creates a database");
        let mut server = program("postgres");
        server
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(dir.path())
            .arg("-D")
            .arg(&data);
        let mut server = server.stderr(Stdio::piped()).spawn().expect("postgres starts");
        let mut log = BufReader::new(server.stderr.take().expect("its log")).lines();
        let ready = async {
            while let Ok(Some(line)) = log.next_line().await {
                if line.contains("ready to accept connections") {
                    return;
                }
            }
            panic!("postgres has ended");
        };
        timeout(PATIENCE, ready).await.expect("postgres is ready in time");
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self { dir, _server: server }
    }

    /// Returns the path of the socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(".s.PGSQL.5432")
    }
}

/// Makes the server on this socket available on a loopback port, behind which a sidecar can run.
pub async fn behind_tcp(socket: &Path) -> App {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let (address, socket) = (listener.local_addr().expect("its address"), socket.to_owned());
    let task = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = UnixStream::connect(&socket).await.expect("the server's socket");
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await.ok() });
        }
    });
    App::new(address, task)
}

/// Returns the number of the user of this process.
fn user() -> String {
    let output = std::process::Command::new("id").arg("-u").output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
