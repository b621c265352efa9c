use std::process::{Command, Stdio};

use tokio::net::{TcpListener, TcpSocket};

use super::*;

/// Returns both ends of a loopback connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

fn check(access_control: &AccessControl, accepted: &TcpStream) -> Verdict {
    access_control.check_tcp(&AcceptedConnection::of(accepted).unwrap(), Instant::now())
}

/// Returns a connection from another process of the same user.
async fn foreign() -> (std::process::Child, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read _");
    let child = Command::new("bash").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    (child, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn connections_of_this_process_are_accepted() {
    for access in [Access::SameProcess, Access::SameUser, Access::Any] {
        let access_control = AccessControl::new(access);
        let (_client, accepted) = pair().await;
        assert_eq!(check(&access_control, &accepted), Verdict::Accepted, "{access:?}");
    }
}

#[tokio::test]
async fn a_connection_with_a_distant_descriptor_is_accepted() {
    let access_control = AccessControl::new(Access::SameProcess);
    let (_client, accepted) = pair().await;
    // The descriptors between the two ends are in use.
    let files: Vec<_> = (0..300).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let far = accepted.into_std().unwrap().try_clone().unwrap();
    drop(files);
    let accepted = TcpStream::from_std(far).unwrap();
    assert_eq!(check(&access_control, &accepted), Verdict::Accepted);
}

#[tokio::test]
async fn one_scan_of_the_descriptors_decides_about_many_simultaneous_connections() {
    let access_control = AccessControl::new(Access::SameProcess);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1024).unwrap();
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..600).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let mut accepted = Vec::new();
    for _ in &clients {
        accepted.push(listener.accept().await.unwrap().0);
    }
    assert!(accepted.iter().all(|accepted| check(&access_control, accepted) == Verdict::Accepted));
    let scans = access_control.owners.unwrap().own.scans();
    assert_eq!(scans, 1, "all clients existed before the first scan");
}

#[tokio::test]
async fn a_client_that_has_closed_its_socket_is_gone() {
    let access_control = AccessControl::new(Access::SameProcess);
    let (client, accepted) = pair().await;
    drop(client);
    assert_eq!(check(&access_control, &accepted), Verdict::Gone);
}

#[tokio::test]
async fn another_process_is_accepted_only_with_same_user() {
    let (mut child, accepted) = foreign().await;
    assert_eq!(check(&AccessControl::new(Access::SameUser), &accepted), Verdict::Accepted);
    let access_control = AccessControl::new(Access::SameProcess);
    let accepted_at = Instant::now();
    let check = || access_control.check_tcp(&AcceptedConnection::of(&accepted).unwrap(), accepted_at);
    assert_eq!(check(), Verdict::SameUser);
    // The first scan has decided about all connections that were accepted before. A later connection waits for the next
    // scan, so that other processes cannot cause a scan per connection.
    assert_eq!(check(), Verdict::SameUser);
    let later = access_control.check_tcp(&AcceptedConnection::of(&accepted).unwrap(), Instant::now());
    assert!(matches!(later, Verdict::Later(_) | Verdict::SameUser), "{later:?}");
    assert!(access_control.owners.as_ref().unwrap().own.scans() <= 2);
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[tokio::test]
async fn if_the_kernel_identifies_nobody_tcp_clients_need_the_secret_and_unix_sockets_work() {
    for access in [Access::SameProcess, Access::SameUser] {
        let access_control = AccessControl::with_owners(access, Err(io::ErrorKind::PermissionDenied.into()));
        assert!(!access_control.accepts_tcp_without_secret());
        let (_client, accepted) = pair().await;
        assert_eq!(check(&access_control, &accepted), Verdict::OtherUser(None));
        let (near, _far) = UnixStream::pair().unwrap();
        assert_eq!(access_control.check_unix(&near), Verdict::Accepted);
    }
    let any = AccessControl::with_owners(Access::Any, Err(io::ErrorKind::PermissionDenied.into()));
    assert!(any.accepts_tcp_without_secret());
}

#[tokio::test]
async fn clients_of_a_unix_socket_are_identified_by_peer_credentials() {
    let (near, _far) = UnixStream::pair().unwrap();
    for access in [Access::SameProcess, Access::SameUser, Access::Any] {
        assert_eq!(AccessControl::new(access).check_unix(&near), Verdict::Accepted);
    }
}
