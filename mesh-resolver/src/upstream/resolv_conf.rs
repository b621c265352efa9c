//! A parser of resolv.conf(5) that behaves like glibc: invalid parts are ignored, and the last of several values is
//! used.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    path::Path,
    time::Duration,
};

use super::options::ResolverOptions;

/// The port of DNS servers.
const PORT: u16 = 53;

/// The limits of glibc.
const MOST_SERVERS: usize = 3;
const MOST_DOTS: u64 = 15;
const LONGEST_TIMEOUT: u64 = 30;
const MOST_ATTEMPTS: u64 = 5;

/// Parses a file. Without a search list, the domain of the host name is used: the part after the first dot.
pub(super) fn parse(text: &str, host_name: &str) -> ResolverOptions {
    let mut options = ResolverOptions::default();
    let mut search: Option<Vec<String>> = None;
    for line in text.lines().map(str::trim_start) {
        let (keyword, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let mut words = rest.split_whitespace();
        match keyword {
            "nameserver" if options.servers.len() < MOST_SERVERS => {
                options.servers.extend(words.next().and_then(server));
            }
            "domain" => search = Some(words.next().map(ToOwned::to_owned).into_iter().collect()),
            "search" => search = Some(words.map(ToOwned::to_owned).collect()),
            "options" => words.for_each(|word| option(&mut options, word)),
            _ => {}
        }
    }
    options.search = search.unwrap_or_else(|| {
        let (_, domain) = host_name.trim().split_once('.').unwrap_or_default();
        vec![domain.to_owned()]
    });
    options
}

fn option(options: &mut ResolverOptions, option: &str) {
    let (name, value) = option.split_once(':').unwrap_or((option, ""));
    let digits = value.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(value.len());
    let number: u64 = value[..digits].parse().unwrap_or(0);
    let count = |most: u64| usize::try_from(number.min(most)).unwrap_or(0);
    match name {
        "ndots" => options.ndots = count(MOST_DOTS),
        "timeout" => options.timeout = Duration::from_secs(number.clamp(1, LONGEST_TIMEOUT)),
        "attempts" => options.attempts = count(MOST_ATTEMPTS).max(1),
        "rotate" => options.rotate = true,
        "edns0" => options.edns = true,
        "use-vc" => options.tcp = true,
        "no-aaaa" => options.no_aaaa = true,
        _ => {}
    }
}

/// Parses an address. A link-local address may name its interface (RFC 4007 §11).
fn server(text: &str) -> Option<SocketAddr> {
    match text.split_once('%') {
        None => Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT)),
        Some((ip, zone)) => {
            let ip: Ipv6Addr = ip.parse().ok()?;
            Some(SocketAddrV6::new(ip, PORT, 0, zone.parse().ok().or_else(|| interface(zone))?).into())
        }
    }
}

/// Returns the index of a network interface.
fn interface(name: &str) -> Option<u32> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    let file = Path::new("/sys/class/net").join(Some(name).filter(|_| plain)?).join("ifindex");
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ResolverOptions {
        parse(text, "vm")
    }

    #[test]
    fn every_option_is_read() {
        let read = read(
            "nameserver 192.0.2.1\nsearch corp.example lan.example\n\
             options ndots:2 timeout:3 attempts:4 rotate edns0 use-vc no-aaaa trust-ad\n",
        );
        assert_eq!(read.search, ["corp.example", "lan.example"]);
        assert_eq!((read.ndots, read.timeout, read.attempts), (2, Duration::from_secs(3), 4));
        assert!(read.rotate && read.edns && read.tcp && read.no_aaaa);
    }

    #[test]
    fn missing_options_have_glibcs_defaults() {
        let read = read("nameserver 192.0.2.1\n");
        assert_eq!((read.ndots, read.timeout, read.attempts), (1, Duration::from_secs(5), 2));
        assert!(!read.rotate && !read.edns && !read.tcp && !read.no_aaaa);
    }

    #[test]
    fn servers_keep_the_order_of_the_file() {
        let read = read("nameserver 2001:db8::53\nnameserver 192.0.2.53\nnameserver fe80::1%1\n");
        let servers: Vec<_> = read.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["[2001:db8::53]:53", "192.0.2.53:53", "[fe80::1%1]:53"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_interface_of_a_link_local_server_is_resolved() {
        let index: u32 = fs::read_to_string("/sys/class/net/lo/ifindex").unwrap().trim().parse().unwrap();
        let SocketAddr::V6(server) = read("nameserver fe80::1%lo\n").servers[0] else { panic!("IPv6") };
        assert_eq!(server.scope_id(), index);
        assert!(read("nameserver fe80::1%../lo\nnameserver fe80::1%nobody\n").servers.is_empty());
    }

    #[test]
    fn the_last_domain_or_search_line_is_used() {
        assert_eq!(read("search a.example b.example\ndomain c.example\n").search, ["c.example"]);
        assert_eq!(
            read("domain c.example\nsearch\ta.example\tb.example\n").search,
            ["a.example", "b.example"]
        );
    }

    #[test]
    fn without_a_search_list_the_domain_of_the_host_is_used() {
        assert_eq!(parse("nameserver 192.0.2.1\n", "vm.corp.example\n").search, ["corp.example"]);
        assert_eq!(read("nameserver 192.0.2.1\n").search, [""]);
    }

    #[test]
    fn invalid_lines_and_options_are_ignored() {
        let read = read(
            "# nameserver 192.0.2.9\n; nameserver 192.0.2.9\nnameserver\nnameserver nonsense\nsortlist 1.2.3.4\n\
             nameserver 192.0.2.1 # a comment\noptions ndots:many ndots: unknown:3 rotation\noptions\n\u{fffd}\n",
        );
        assert_eq!(read.servers, ["192.0.2.1:53".parse().unwrap()]);
        assert_eq!((read.ndots, read.rotate), (0, false));
    }

    #[test]
    fn at_most_three_servers_are_used() {
        let lines =
            |count: u8| (1..=count).map(|last| format!("nameserver 192.0.2.{last}\n")).collect::<String>();
        assert_eq!(read(&lines(5)).servers, read(&lines(3)).servers);
        assert_eq!(read(&format!("nameserver nonsense\n{}", lines(3))).servers.len(), 3);
    }

    #[test]
    fn an_address_with_a_port_is_invalid() {
        let text = "nameserver 192.0.2.1:5353\nnameserver 192.0.2.1#53\nnameserver [2001:db8::1]:53\nnameserver [::1]\n";
        assert!(read(text).servers.is_empty());
    }

    #[test]
    fn crlf_line_ends_and_a_missing_last_newline_are_accepted() {
        let unix = read("nameserver 192.0.2.1\nsearch a.example b.example\noptions ndots:3 edns0");
        let dos = read("nameserver 192.0.2.1\r\nsearch a.example b.example\r\noptions ndots:3 edns0\r\n");
        assert_eq!(unix, dos);
        assert_eq!((unix.ndots, unix.edns, unix.search.len()), (3, true, 2));
    }

    #[test]
    fn the_number_of_search_domains_is_unlimited() {
        let read = read("nameserver 192.0.2.1\nsearch a b c d e f g.example h.example\n");
        assert_eq!(read.search.len(), 8);
    }

    #[test]
    fn numbers_have_glibcs_limits() {
        let read = read("options ndots:99 timeout:99 attempts:99\noptions timeout:0 attempts:0\n");
        assert_eq!((read.ndots, read.timeout, read.attempts), (15, Duration::from_secs(1), 1));
        let read = parse("options timeout:99 attempts:99999999999999999999", "");
        assert_eq!((read.timeout, read.attempts), (Duration::from_secs(30), 1));
    }
}
