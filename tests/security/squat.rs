//! Another user listens on a port of a service on all addresses, where the connections to loopback addresses without a
//! listener arrive.

use mesh_connector::Target;
use mesh_resolver::ErrorKind;

use crate::{user::Program, victim::Victim};

const ORDERS: &str = "orders.shop.example";
const PORTS: &[u16] = &[80, 18_200];

/// Listens on `port` in each way that another user may try, and prints the results.
fn squat(port: u16) -> String {
    format!(
        "
import socket, sys
def listen(family, address, *options):
    s = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    for option in options: s.setsockopt(socket.SOL_SOCKET, option, 1)
    s.bind((address, {port})); s.listen(5)
    return s
held = []
for family, address in ((socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::'), (socket.AF_INET, '127.64.0.1')):
    for options in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)):
        try:
            held.append(listen(family, address, *options)); break
        except OSError: pass
    if held: break
print('listens' if held else 'cannot listen')
sys.stdin.read()
"
    )
}

pub(crate) async fn a_service_has_no_loopback_address_while_another_user_listens_on_one_of_its_ports() {
    let victim = Victim::start(&[(ORDERS, PORTS)], &[]).await;
    let mut squatter = Program::start(&squat(18_200));
    assert_eq!(squatter.line().await, "listens");
    let error = victim.resolver.lookup_ip(ORDERS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoLocalAddress);
    assert!(error.report().contains(":18200 for orders.shop.example:18200"), "{}", error.report());
    // A client that accepts a port is not affected.
    let target = Target::new(ORDERS, 18_200).unwrap();
    let address = victim.bridge.local_address(&target).await.unwrap().unwrap();
    assert_ne!(address.port(), 18_200);
}

pub(crate) async fn another_user_cannot_listen_on_a_port_of_a_service_that_has_a_loopback_address() {
    let ports = &[18_201, 18_202];
    let victim = Victim::start(&[(ORDERS, ports)], &[]).await;
    let ip = victim.resolver.lookup_ip(ORDERS).await.unwrap().addresses()[0];
    for port in ports {
        let script = squat(*port).replace("127.64.0.1", &ip.to_string());
        assert_eq!(Program::start(&script).line().await, "cannot listen", "{port}");
    }
}
