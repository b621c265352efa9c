//! Another user sends DNS queries for the services of the mesh.

use std::net::SocketAddr;

use crate::{user::Program, victim::Victim};

const SERVICES: usize = 40;

/// Sends `rounds` queries for each name over UDP, and one over TCP. Prints the response codes, then the last address.
fn queries(server: SocketAddr, names: &[String], rounds: usize) -> String {
    format!(
        "
import socket, struct
server = ('{ip}', {port})
def query(name):
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    return struct.pack('>HHHHHH', 7, 0x100, 1, 0, 0, 0) + labels + b'\\0' + struct.pack('>HH', 1, 1)
def exactly(s, count):
    data = b''
    while len(data) < count: data += s.recv(count - len(data))
    return data
codes, answer = {{}}, b''
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(20); s.connect(server)
unconnected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); unconnected.settimeout(20)
for name in '{names}'.split():
    for _ in range({rounds}):
        s.send(query(name)); answer = s.recv(512)
        codes[answer[3] & 15] = codes.get(answer[3] & 15, 0) + 1
    unconnected.sendto(query(name), server); answer = unconnected.recv(512)
    codes[answer[3] & 15] = codes.get(answer[3] & 15, 0) + 1
    t = socket.create_connection(server, 20)
    t.sendall(struct.pack('>H', len(query(name))) + query(name))
    answer = exactly(t, struct.unpack('>H', exactly(t, 2))[0])
    codes[answer[3] & 15] = codes.get(answer[3] & 15, 0) + 1
print(codes)
print(socket.inet_ntoa(answer[-4:]))
",
        ip = server.ip(),
        port = server.port(),
        names = names.join(" ")
    )
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

pub(crate) async fn queries_of_another_user_open_no_listener_and_are_refused() {
    let names: Vec<_> = (0..SERVICES).map(|number| format!("s{number}.many.example")).collect();
    let services: Vec<_> = names.iter().map(|name| (name.as_str(), &[18_300_u16, 18_301][..])).collect();
    let victim = Victim::start(&services, &[]).await;
    let before = open_descriptors();
    let mut attacker = Program::start(&queries(victim.dns_address(), &names, 5));
    // 5 is REFUSED.
    assert_eq!(attacker.line().await, format!("{{5: {}}}", SERVICES * 7));
    assert!(names.iter().all(|name| victim.bridge.local_names().address(name).is_none()));
    let opened = open_descriptors().saturating_sub(before);
    assert!(opened < SERVICES, "{opened} descriptors more than before");
    assert_eq!(victim.dns.stats().no_local_address, SERVICES as u64 * 7);
    // The user of the process is served.
    assert!(victim.resolver.lookup_ip(&names[0]).await.unwrap().addresses()[0].is_loopback());
}

pub(crate) async fn a_user_with_permission_receives_an_address_and_still_cannot_use_the_service() {
    let names = ["cached.example".to_owned()];
    let victim = Victim::start(&[(&names[0], &[18_310])], &[crate::user::ATTACKER]).await;
    let mut cache = Program::start(&queries(victim.dns_address(), &names, 1));
    assert_eq!(cache.line().await, "{0: 3}");
    let address = cache.line().await;
    let expected = victim.bridge.local_names().listener(&names[0], 18_310).unwrap();
    assert_eq!(address, expected.ip().to_string());
    let script = format!(
        "import socket
try: print('received', socket.create_connection(('{address}', 18310), 20).recv(1))
except ConnectionResetError: print('reset')"
    );
    let answer = Program::start(&script).line().await;
    assert!(answer == "reset" || answer == "received b''", "{answer}");
}
