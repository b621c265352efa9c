//! Attacks by another user of this host on the descriptors and connections of a process with a bridge.
//!
//! These tests run only as root, because they start the attacker as another user.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a failed setup fails the test")]

use std::{
    io,
    net::SocketAddr,
    process::{ExitCode, Stdio},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libtest_mimic::{Arguments, Trial};
use mesh_connector::{
    Config, Mesh, Target,
    bridge::{Bridge, LocalPort},
};
use mesh_resolver::Upstream;
use mesh_sandbox::{Sandbox, VmFiles};
use mesh_tests::{machine, peers};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The user of the attacker (`nobody`), and a user whose program has the secret.
const ATTACKER: u32 = 65534;
const FRIEND: u32 = 65533;

/// The soft limit of descriptors in most systems.
const DEFAULT_LIMIT: u64 = 1024;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The limit of descriptors belongs to the whole process.
    arguments.test_threads = Some(1);
    let cannot_run =
        !geteuid().is_root() || !machine::has_program("setpriv") || !machine::has_program("bash");
    let ignored = cannot_run && !peers::required();
    if ignored {
        eprintln!("these tests are ignored: they need root, setpriv and bash");
    }
    let attack = |name: &str, says: &'static str, listener| {
        let run = move || {
            if cannot_run {
                return Err("these tests need root, setpriv and bash".into());
            }
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(attacked(says, listener));
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(ignored)
    };
    let trials = vec![
        attack("idle_connections_of_another_user_to_the_proxy_stop_nothing", "", Listener::Proxy),
        attack(
            "connections_of_another_user_without_a_password_stop_nothing",
            r"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
            Listener::Proxy,
        ),
        attack(
            "unfinished_socks_handshakes_of_another_user_stop_nothing",
            r"\x05\x01\x02\x01",
            Listener::Proxy,
        ),
        attack("connections_of_another_user_to_a_loopback_listener_stop_nothing", "x", Listener::Local),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

#[derive(Clone, Copy)]
enum Listener {
    Proxy,
    Local,
}

struct Victim {
    mesh: Mesh,
    bridge: Bridge,
    _sandbox: Sandbox,
    /// The folder must exist as long as the client, which reads the token for each request.
    _vm: VmFiles,
}

impl Victim {
    async fn start() -> Self {
        let sandbox = Sandbox::builder().without_reload().start().await.unwrap();
        let vm = sandbox.vm_files("vms/edge-app").unwrap();
        let config = Config::from_vm_files(vm.path()).unwrap();
        let upstream = Upstream::servers([sandbox.upstream_dns()]);
        let mesh = Mesh::builder(config).with_upstream(upstream).join().await.unwrap();
        let bridge = mesh.bridge().start().await.unwrap();
        Self { mesh, bridge, _sandbox: sandbox, _vm: vm }
    }
}

/// Another user opens 1100 connections, and a new one for each that the bridge closes. The process has the usual limit
/// of descriptors.
async fn attacked(says: &str, listener: Listener) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(DEFAULT_LIMIT), maximum: limit.maximum }).unwrap();
    let victim = Victim::start().await;
    let target = Target::new("ledger.payments.example", 5432).unwrap();
    let address = match listener {
        Listener::Proxy => victim.bridge.proxy_address(),
        Listener::Local => victim.bridge.listen_local(&target, LocalPort::Any).await.unwrap(),
    };
    let _attacker = attacker(address, says).await;
    for _ in 0..20 {
        let answer = timeout(TIME_LIMIT, own_request(&victim.bridge)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        timeout(TIME_LIMIT, victim.mesh.connect("forecast.weather", 3002)).await.unwrap().unwrap();
        std::fs::File::open("/etc/hostname").unwrap();
        let in_use = victim.bridge.open_connections();
        assert!(in_use < 10, "connections of another user occupy slots: {in_use}");
    }
    // A third user, whose program has the secret, is served meanwhile.
    let answer = timeout(TIME_LIMIT, friend(&victim.bridge)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    setrlimit(Resource::Nofile, limit).unwrap();
}

async fn own_request(bridge: &Bridge) -> io::Result<String> {
    let mut client = TcpStream::connect(bridge.proxy_address()).await?;
    let request = b"GET http://forecast.weather:3002/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    client.write_all(request).await?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Runs a script of bash as another user.
fn as_user(user: u32, script: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--clear-groups");
    command.args(["bash", "-c", script]).current_dir("/").kill_on_drop(true);
    command
}

/// Starts the attacker, and waits until it has opened all connections once. It then closes and opens them again, one
/// after another, until it is dropped.
async fn attacker(address: SocketAddr, says: &str) -> Child {
    let (ip, port) = (address.ip(), address.port());
    let script = format!(
        "trap '' PIPE; ulimit -n 4096 || exit 1
         open() {{ exec {{c}}<>/dev/tcp/{ip}/{port} && all[$1]=$c && printf '{says}' >&$c; }}
         for i in {{1..1100}}; do open $i; done
         echo open
         while :; do for i in {{1..1100}}; do c=${{all[$i]}}; exec {{c}}>&-; open $i; done; done"
    );
    let mut command = as_user(ATTACKER, &script);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    timeout(TIME_LIMIT, output.read_line(&mut line)).await.unwrap().unwrap();
    assert_eq!(line, "open\n");
    child
}

async fn friend(bridge: &Bridge) -> String {
    let address = bridge.proxy_address();
    let password = STANDARD.encode(format!("{}:{}", bridge.user(), bridge.secret().reveal()));
    let request = format!(
        r"GET http://forecast.weather:3002/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic {password}\r\nConnection: close\r\n\r\n"
    );
    let (ip, port) = (address.ip(), address.port());
    // Other users can read command lines, but not the environment.
    let script = format!("exec 3<>/dev/tcp/{ip}/{port}; printf \"$REQUEST\" >&3; cat <&3");
    let output = as_user(FRIEND, &script).env("REQUEST", request).output().await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
