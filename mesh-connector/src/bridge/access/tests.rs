use std::process::{Command, Stdio};

use tokio::net::TcpListener;

use super::*;

/// Both ends of a connection on loopback.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

async fn admitted(gate: &Gate, accepted: &TcpStream) -> bool {
    gate.admits_tcp(&Accepted::of(accepted).unwrap()).await
}

/// A connection of another process of the same user.
async fn foreign() -> (std::process::Child, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read _");
    let child = Command::new("bash").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    (child, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn this_process_own_connections_are_recognised() {
    for access in [Access::SameProcess, Access::SameUser, Access::Any] {
        let gate = Gate::new(access).unwrap();
        let (_client, accepted) = pair().await;
        assert!(admitted(&gate, &accepted).await, "{access:?}");
    }
}

#[tokio::test]
async fn a_connection_whose_descriptor_is_far_away_is_recognised() {
    let gate = Gate::new(Access::SameProcess).unwrap();
    let (_client, accepted) = pair().await;
    // The numbers between the two ends are taken.
    let files: Vec<_> = (0..300).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let far = accepted.into_std().unwrap().try_clone().unwrap();
    drop(files);
    let accepted = TcpStream::from_std(far).unwrap();
    assert!(admitted(&gate, &accepted).await);
}

#[tokio::test]
async fn a_client_that_has_closed_its_socket_is_refused() {
    let gate = Gate::new(Access::SameProcess).unwrap();
    let (client, accepted) = pair().await;
    drop(client);
    assert!(!admitted(&gate, &accepted).await);
}

#[tokio::test]
async fn another_process_is_refused_unless_users_count() {
    let (mut child, accepted) = foreign().await;
    assert!(!admitted(&Gate::new(Access::SameProcess).unwrap(), &accepted).await);
    assert!(admitted(&Gate::new(Access::SameUser).unwrap(), &accepted).await);
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[tokio::test]
async fn on_a_unix_socket_the_kernel_says_who_connected() {
    let (near, _far) = UnixStream::pair().unwrap();
    for access in [Access::SameProcess, Access::SameUser, Access::Any] {
        assert!(Gate::new(access).unwrap().admits_unix(&near));
    }
}
