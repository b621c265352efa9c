//! Tests with other host addresses and other files in `/etc`. Each runs this program again in its own network and
//! mount namespaces.

use std::{
    env, fs,
    net::{IpAddr, SocketAddrV6, UdpSocket},
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use libtest_mimic::Failed;
use mesh_resolver::{
    ErrorKind, MeshResolver, Source, Upstream,
    listener::{DnsListener, Limits},
};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

type Test = fn();

pub(super) const TESTS: &[(&str, Test)] = &[
    ("other_hosts_are_rate_limited_and_can_retry_over_tcp", other_hosts_are_rate_limited),
    ("other_hosts_may_not_resolve_names_outside_the_mesh", other_hosts_are_refused),
    ("getaddrinfo_finds_names_that_only_nss_knows", names_that_only_nss_knows),
    ("the_options_of_resolv_conf_apply_to_its_servers", the_options_of_resolv_conf),
];

/// The test that this process runs, and the folder whose files replace those of `/etc`.
const TEST: &str = "SIDESTEP_NAMESPACE_TEST";
const FOLDER: &str = "SIDESTEP_NAMESPACE_FOLDER";

/// A non-loopback address of this host, which counts as an address of another host.
const ADDRESS: &str = "198.51.100.1";

const SETUP: &str = "set -e
ip link set lo up
ip address add 198.51.100.1/32 dev lo
ip address add fe80::53/64 dev lo nodad
for file in hosts nsswitch.conf resolv.conf; do mount --bind \"$SIDESTEP_NAMESPACE_FOLDER/$file\" \"/etc/$file\"; done
exec \"$0\"";

/// Returns the test that this process must run inside a namespace.
pub(super) fn inside() -> Option<Test> {
    let name = env::var(TEST).ok()?;
    TESTS.iter().find(|(test, _)| *test == name).map(|(_, test)| *test)
}

fn command(program: &Path, folder: &Path) -> Command {
    for (file, text) in [
        ("hosts", "127.0.0.1 localhost\n192.0.2.77 printer.nss.example\n"),
        ("nsswitch.conf", "hosts: files myhostname\n"),
        ("resolv.conf", "nameserver 127.0.0.99\noptions timeout:1 attempts:1\n"),
    ] {
        fs::write(folder.join(file), text).unwrap();
    }
    let mut command = Command::new("unshare");
    command.args(["-rnm", "sh", "-c", SETUP]).arg(program).env(FOLDER, folder);
    command
}

pub(super) fn missing() -> bool {
    let folder = tempfile::tempdir().unwrap();
    !command(Path::new("true"), folder.path()).output().is_ok_and(|output| output.status.success())
}

pub(super) fn run(test: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let output = command(&env::current_exe()?, folder.path()).env(TEST, test).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn question(id: u8, name: &str) -> Vec<u8> {
    let mut message = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

/// Starts a listener at [`ADDRESS`] and connects a client socket to it from there.
fn listener(runtime: &Runtime, limits: Limits) -> (DnsListener, UdpSocket) {
    let resolver = super::with_upstream(Upstream::servers(["127.0.0.99:53".parse().unwrap()]));
    let builder = DnsListener::builder(resolver).bind(format!("{ADDRESS}:0")).with_limits(limits);
    let listener = builder.with_runtime(runtime.handle().clone()).start().unwrap();
    let socket = UdpSocket::bind((ADDRESS, 0)).unwrap();
    socket.connect(listener.addresses()[0]).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (listener, socket)
}

fn other_hosts_are_rate_limited() {
    let mut limits = Limits::default();
    limits.udp_rate_limit = 5;
    let runtime = runtime();
    let (listener, socket) = listener(&runtime, limits);
    let (mut cut, mut whole, mut answer) = (0, 0, [0; 512]);
    // The limiter counts per second of the clock, so the loop may span two seconds.
    while cut == 0 {
        let asked = question(1, "forecast.example");
        socket.send(&asked).unwrap();
        let len = socket.recv(&mut answer).unwrap();
        assert_eq!(answer[3] & 0x0f, 0);
        match answer[2] & 2 {
            0 => whole += 1,
            _ => {
                assert_eq!(len, asked.len(), "the response is not longer than the query");
                cut += 1;
            }
        }
    }
    assert!(whole >= 5, "{whole}");
    let stats = listener.stats();
    assert_eq!((stats.mesh, stats.rate_limited), (whole, 1));
    // A TCP client is not limited.
    let tcp = std::net::TcpStream::connect(listener.addresses()[0]).unwrap();
    ask_over_tcp(tcp, &question(2, "forecast.example"));
}

fn ask_over_tcp(mut stream: std::net::TcpStream, question: &[u8]) {
    use std::io::{Read as _, Write as _};
    stream.write_all(&u16::try_from(question.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(question).unwrap();
    let mut answer = [0; 14];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[8..10], [0, 1], "one record over TCP");
}

fn other_hosts_are_refused() {
    let runtime = runtime();
    let (listener, socket) = listener(&runtime, Limits::default());
    let mut answer = [0; 512];
    for (name, code) in [("forecast.example", 0), ("www.example.org", 5)] {
        socket.send(&question(1, name)).unwrap();
        socket.recv(&mut answer).unwrap();
        assert_eq!(answer[3] & 0x0f, code, "{name}");
    }
    assert_eq!((listener.stats().mesh, listener.stats().refused), (1, 1));
}

/// glibc's `nss_files` reads the `hosts` file, which represents a source that neither this crate nor DNS knows.
fn names_that_only_nss_knows() {
    let runtime = runtime();
    let lookup = |upstream: Upstream| {
        let resolver: MeshResolver = super::with_upstream(upstream);
        runtime.block_on(resolver.lookup_ip("printer.nss.example"))
    };
    let found = lookup(Upstream::system().without_hosts_file()).unwrap();
    assert_eq!(
        found.source(),
        &Source::GetAddrInfo,
        "nsswitch.conf lists a source that this crate does not read"
    );
    assert_eq!(found.addresses(), ["192.0.2.77".parse::<IpAddr>().unwrap()]);
    assert_eq!(
        lookup(Upstream::system()).unwrap().source(),
        &Source::HostsFile,
        "the hosts file comes first"
    );
    let disabled = lookup(Upstream::system().without_hosts_file().with_getaddrinfo(false)).unwrap_err();
    assert_eq!(disabled.kind(), ErrorKind::Upstream);
    let folder = env::var(FOLDER).unwrap();
    fs::write(Path::new(&folder).join("nsswitch.conf"), "hosts: files dns\n").unwrap();
    let plain = lookup(Upstream::system().without_hosts_file()).unwrap_err();
    assert_eq!(plain.kind(), ErrorKind::Upstream, "no source is left besides files and DNS");
}

/// Starts one server on port 53 of each address: IPv4, and link-local IPv6. The servers do not support EDNS (RFC 6891
/// §7) and record their queries.
fn the_options_of_resolv_conf() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    for address in ["127.0.0.53", "127.0.0.54", "fe80::53%1"] {
        let socket = match address.split_once('%') {
            Some((ip, _)) => UdpSocket::bind(SocketAddrV6::new(ip.parse().unwrap(), 53, 0, 1)).unwrap(),
            None => UdpSocket::bind((address, 53)).unwrap(),
        };
        let asked = asked.clone();
        thread::spawn(move || {
            let mut room = [0; 512];
            while let Ok((len, peer)) = socket.recv_from(&mut room) {
                let edns = room[11] == 1;
                asked.lock().push((address, edns));
                let mut answer = room[..if edns { 12 } else { len }].to_vec();
                // NXDOMAIN, or FORMERR for a query with EDNS.
                answer[2..4].copy_from_slice(&[0x81, if edns { 0x81 } else { 0x83 }]);
                if edns {
                    answer[4..].fill(0);
                }
                let _ = socket.send_to(&answer, peer);
            }
        });
    }
    let runtime = runtime();
    let resolv_conf = Path::new(&env::var(FOLDER).unwrap()).join("resolv.conf");
    let servers = |text: &str| {
        fs::write(&resolv_conf, text).unwrap();
        let resolver = super::with_upstream(Upstream::system().with_getaddrinfo(false));
        let failed = runtime.block_on(resolver.lookup_ip("www.example.org.")).unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::NameNotFound, "{}", failed.report());
        let mut asked = std::mem::take(&mut *asked.lock());
        asked.sort_unstable();
        asked
    };
    assert_eq!(servers("nameserver 127.0.0.53\nnameserver 127.0.0.54\n"), [("127.0.0.53", false); 2]);
    assert_eq!(servers("nameserver fe80::53%lo\noptions no-aaaa"), [("fe80::53%1", false)]);
    let rotated = servers("nameserver 127.0.0.53\r\nnameserver 127.0.0.54\r\noptions rotate\r\n");
    assert_eq!(rotated, [("127.0.0.53", false), ("127.0.0.54", false)]);
    let without = servers("nameserver 127.0.0.54\noptions edns0 trust-ad no-aaaa\n");
    assert_eq!(without, [("127.0.0.54", false), ("127.0.0.54", true)]);
    // No server runs at 127.0.0.99, so the next one is queried.
    let next = servers("nameserver 127.0.0.99\nnameserver 127.0.0.54\noptions no-aaaa\nsearch .");
    assert_eq!(next, [("127.0.0.54", false)]);
}
