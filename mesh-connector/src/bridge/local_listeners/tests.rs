use std::{collections::HashSet, future::pending};

use super::{ServicePort::Number, *};

fn target(port: u16) -> Target {
    Target::new("forecast.weather", port).unwrap()
}

/// The listeners of a bridge, over sockets that exist only in this value.
struct Listeners {
    all: LocalListeners,
    /// The ports that cannot be bound.
    taken: HashSet<u16>,
    /// The number of attempts to bind a port.
    attempts: usize,
    now: Instant,
}

fn open(address: SocketAddrV4) -> Listening {
    Listening::of_test(address, tokio::spawn(pending::<()>()).abort_handle())
}

impl Listeners {
    fn new(max: usize) -> Self {
        let all = LocalListeners::starting_at(0, max, Arc::new(Budget::new(1, max)));
        Self { all, taken: HashSet::new(), attempts: 0, now: Instant::now() }
    }

    fn lookup(&mut self, host: &str, ports: &[u16]) -> Result<Ipv4Addr, Error> {
        let ports: Vec<_> = ports.iter().copied().map(Number).collect();
        let Self { all, taken, attempts, now } = self;
        all.lock().service(host, &ports, *now, |port, address| {
            *attempts += 1;
            if taken.contains(&port.number()) {
                let error = io::ErrorKind::AddrInUse.into();
                return Err(refused(address, &Target::new(host, port.number()).unwrap(), error));
            }
            Ok(open(address))
        })
    }

    fn fixed(&self, name: &str, port: u16, kind: LocalPort) -> Result<SocketAddr, Error> {
        self.all.lock().fixed(&target(port), name, kind, self.now, |address| {
            // The system chooses a port.
            let port = if address.port() == 0 { 40_000 + port } else { address.port() };
            Ok(open(SocketAddrV4::new(*address.ip(), port)))
        })
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
    }

    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        self.all.names().address(host)
    }
}

#[tokio::test]
async fn a_name_keeps_its_address_and_other_names_get_different_ones() {
    let listeners = Listeners::new(3);
    let first = listeners.fixed("a", 80, LocalPort::Any).unwrap();
    let second = listeners.fixed("a", 81, LocalPort::Any).unwrap();
    let other = listeners.fixed("b", 80, LocalPort::Any).unwrap();
    assert_eq!(first.ip(), second.ip());
    assert_ne!(first.ip(), other.ip());
    let error = listeners.fixed("d", 82, LocalPort::Any).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Listen, "the limit is three: {error}");
    assert!(error.to_string().contains("with_max_local_listeners"), "{error}");
    let names = listeners.all.names();
    assert_eq!(names.address("a").map(Into::into), Some(first.ip()));
    assert_eq!(names.listener("a", 81), Some(second));
    assert_eq!(listeners.fixed("a", 80, LocalPort::Any).unwrap(), first);
    let std::net::IpAddr::V4(ip) = first.ip() else { panic!("not IPv4") };
    assert_eq!(names.name(ip).as_deref(), Some("a"));
    assert_eq!((ip.octets()[0], ip.octets()[1] >> 6), (127, 1), "{ip}");
}

#[tokio::test]
async fn listeners_for_two_subsets_of_one_port_have_different_addresses() {
    let listeners = Listeners::new(3);
    let first = listeners.fixed("a", 80, LocalPort::Real).unwrap();
    let subset = target(80).with_subset("v2");
    let second =
        listeners.all.lock().fixed(&subset, "a", LocalPort::Real, listeners.now, |address| Ok(open(address)));
    let second = second.unwrap();
    assert_eq!((first.port(), second.port()), (80, 80));
    assert_ne!(first.ip(), second.ip());
}

#[tokio::test]
async fn a_service_has_an_address_only_if_all_of_its_ports_are_bound() {
    let mut listeners = Listeners::new(10);
    listeners.taken.insert(81);
    let error = listeners.lookup("a", &[80, 81, 82]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Listen);
    assert!(error.to_string().contains(":81 for a:81: another program listens"), "{error}");
    assert_eq!(listeners.address("a"), None);
    assert_eq!(listeners.all.lock().budget.in_use(), 0, "the other ports are closed again");
    listeners.taken.clear();
    listeners.wait(RETRY_DELAY);
    let ip = listeners.lookup("a", &[80, 81, 82]).unwrap();
    assert_eq!(listeners.lookup("a", &[80, 81, 82]).unwrap(), ip);
    assert_eq!(listeners.all.names().listener("a", 81), Some((ip, 81).into()));
}

#[tokio::test]
async fn a_service_whose_new_port_cannot_be_bound_loses_its_address_and_keeps_its_listeners() {
    let mut listeners = Listeners::new(10);
    let ip = listeners.lookup("a", &[80]).unwrap();
    listeners.taken.insert(81);
    listeners.lookup("a", &[80, 81]).unwrap_err();
    assert_eq!(listeners.all.lock().hosts(), ["a"], "clients may still use the address");
    listeners.wait(RETRY_DELAY);
    listeners.taken.clear();
    assert_eq!(listeners.lookup("a", &[80, 81]).unwrap(), ip);
    // A removed port stays bound, so that no other program can listen there.
    assert_eq!(listeners.lookup("a", &[81]).unwrap(), ip);
    assert_eq!(listeners.all.lock().budget.in_use(), 2);
}

#[tokio::test]
async fn a_failed_attempt_is_remembered_until_the_retry_or_until_the_ports_change() {
    let mut listeners = Listeners::new(10);
    listeners.taken.insert(80);
    for _ in 0..100 {
        listeners.lookup("a", &[80]).unwrap_err();
    }
    assert_eq!(listeners.attempts, 1);
    listeners.wait(RETRY_DELAY);
    listeners.lookup("a", &[80]).unwrap_err();
    assert_eq!(listeners.attempts, 2);
    assert!(listeners.lookup("a", &[81]).is_ok());
    for host in 0..2 * MAX_FAILED {
        listeners.lookup(&format!("host-{host}"), &[80]).unwrap_err();
    }
    assert_eq!(listeners.all.lock().failed.len(), MAX_FAILED);
}

#[tokio::test]
async fn a_listener_that_has_ended_is_replaced_before_its_address_is_returned() {
    let mut listeners = Listeners::new(10);
    listeners.lookup("a", &[80]).unwrap();
    let task = tokio::spawn(async {});
    let ended = task.abort_handle();
    task.await.unwrap();
    let address = SocketAddrV4::new(listeners.address("a").unwrap(), 80);
    let ended = Listening::of_test(address, ended);
    let mut open = listeners.all.lock();
    let permit = open.budget.acquire(1).unwrap();
    open.services.get_mut("a").unwrap().ports.insert(Number(80), Entry { listening: ended, _permit: permit });
    drop(open);
    listeners.lookup("a", &[80]).unwrap();
    assert_eq!(listeners.attempts, 2);
}

#[tokio::test]
async fn at_the_limit_the_service_that_was_idle_for_the_longest_time_gives_up_its_listeners() {
    let mut listeners = Listeners::new(3);
    listeners.lookup("a", &[80]).unwrap();
    listeners.lookup("b", &[80]).unwrap();
    listeners.lookup("c", &[80]).unwrap();
    let error = listeners.lookup("d", &[80]).unwrap_err();
    assert!(
        error.to_string().contains("which is its limit"),
        "no service has been idle for long enough: {error}"
    );
    let client = listeners.all.lock().services["a"].ports[&Number(80)].listening.client_connects();
    listeners.wait(MIN_IDLE - Duration::from_secs(1));
    listeners.lookup("c", &[80]).unwrap();
    listeners.wait(Duration::from_secs(1));
    listeners.lookup("d", &[80]).unwrap();
    // `a` has a client, and `c` was looked up later.
    assert_eq!(listeners.address("b"), None);
    assert_eq!(listeners.all.names().listener("b", 80), None);
    assert!(listeners.address("a").is_some() && listeners.address("c").is_some());
    drop(client);
}

#[tokio::test]
async fn listeners_of_the_program_are_not_closed_to_make_room() {
    let mut listeners = Listeners::new(1);
    listeners.fixed("a", 80, LocalPort::Real).unwrap();
    listeners.wait(2 * MIN_IDLE);
    listeners.lookup("b", &[80]).unwrap_err();
    assert!(listeners.address("a").is_some());
}
