//! A hickory-server that answers mesh names. It could also serve DNS over TLS, HTTPS or QUIC.
//!
//! ```text
//! $ resolve-hickory-server ./vm 127.0.0.1:5300
//! listening on 127.0.0.1:5300
//! $ dig @127.0.0.1 -p 5300 +short forecast.weather
//! 10.1.0.20
//! ```

#![forbid(unsafe_code)]

use std::{error::Error, time::Duration};

use hickory_server::Server;
use mesh_resolver::{MeshResolver, hickory_server::MeshHandler};
use nds_client::{Config, NdsClient};
use tokio::net::{TcpListener, UdpSocket};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vm_files), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: resolve-hickory-server VM-FILES IP:PORT".into());
    };
    let mesh = MeshResolver::new(&NdsClient::join(Config::from_vm_files(vm_files)?).await?)?;

    // The listening address decides which clients have access: a loopback address serves this host.
    let mut server = Server::new(MeshHandler::new(mesh));
    let socket = UdpSocket::bind(address).await?;
    let address = socket.local_addr()?;
    server.register_listener(TcpListener::bind(address).await?, Duration::from_secs(5), 4096);
    server.register_socket(socket);
    anstream::println!("listening on {address}");
    server.block_until_done().await?;
    Ok(())
}
