//! A load balancer: each new connection goes to the next node in turn.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// A load balancer for TCP on a port of its own. It stops when this is dropped.
pub struct Balancer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    stopped: AtomicBool,
    connections: AtomicUsize,
}

impl Balancer {
    /// Starts a load balancer in front of these nodes.
    #[must_use]
    pub fn start(nodes: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a socket has an address");
        let stopped = AtomicBool::new(false);
        let shared = Arc::new(Shared { stopped, connections: AtomicUsize::new(0) });
        let balancing = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if balancing.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let turn = balancing.connections.fetch_add(1, Ordering::Relaxed);
                // If the node is down, drop the client's connection.
                let Ok(node) = TcpStream::connect(nodes[turn % nodes.len()]) else { continue };
                for stream in [&client, &node] {
                    let _ = stream.set_nodelay(true);
                }
                let both = client.try_clone().and_then(|client| Ok((client, node.try_clone()?)));
                let Ok((from_client, to_node)) = both else { continue };
                thread::spawn(move || pump(from_client, to_node));
                thread::spawn(move || pump(node, client));
            }
        });
        Self { address, shared }
    }

    /// The base URL of the API at this address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Skips the node whose turn it is: a client that opens the same number of connections each time
    /// then begins with another node.
    pub fn skip(&self) {
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// Forwards all bytes from one stream to the other.
fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..read]).is_err() {
            let _ = from.shutdown(Shutdown::Read);
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
