use std::process::{Command, Stdio};

use tokio::net::TcpListener;

use super::*;

/// Returns both ends of a loopback connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

async fn is_allowed(access_control: &AccessControl, accepted: &TcpStream) -> bool {
    access_control.allows_tcp(&AcceptedConnection::of(accepted).unwrap()).await
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
        let access_control = AccessControl::new(access).unwrap();
        let (_client, accepted) = pair().await;
        assert!(is_allowed(&access_control, &accepted).await, "{access:?}");
    }
}

#[tokio::test]
async fn a_connection_with_a_distant_descriptor_is_accepted() {
    let access_control = AccessControl::new(Access::SameProcess).unwrap();
    let (_client, accepted) = pair().await;
    // The descriptors between the two ends are in use.
    let files: Vec<_> = (0..300).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let far = accepted.into_std().unwrap().try_clone().unwrap();
    drop(files);
    let accepted = TcpStream::from_std(far).unwrap();
    assert!(is_allowed(&access_control, &accepted).await);
}

#[tokio::test]
async fn a_client_that_has_closed_its_socket_is_rejected() {
    let access_control = AccessControl::new(Access::SameProcess).unwrap();
    let (client, accepted) = pair().await;
    drop(client);
    assert!(!is_allowed(&access_control, &accepted).await);
}

#[tokio::test]
async fn another_process_is_accepted_only_with_same_user() {
    let (mut child, accepted) = foreign().await;
    assert!(!is_allowed(&AccessControl::new(Access::SameProcess).unwrap(), &accepted).await);
    assert!(is_allowed(&AccessControl::new(Access::SameUser).unwrap(), &accepted).await);
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[tokio::test]
async fn clients_of_a_unix_socket_are_identified_by_peer_credentials() {
    let (near, _far) = UnixStream::pair().unwrap();
    for access in [Access::SameProcess, Access::SameUser, Access::Any] {
        assert!(AccessControl::new(access).unwrap().allows_unix(&near));
    }
}
