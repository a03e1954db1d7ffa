//! The child processes and ports of a test.
//!
//! Owns their end: a process is killed and reaped when its owner is dropped, also by a panic, and
//! a port stays bound until then. Never knows what the programs do.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command};

use tokio::net::TcpSocket;

/// A child process, killed when dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts the command.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port of loopback for a program to listen on. The socket is bound with `SO_REUSEADDR` and
/// does not listen: the kernel picks this port for no other socket, and one that names it may
/// bind it beside this one.
#[derive(Debug)]
pub struct HeldPort(TcpSocket);

impl HeldPort {
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

#[test]
fn a_failing_test_leaves_no_process_behind() {
    let mut id = 0;
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let process = Process::spawn(Command::new("sleep").arg("1000")).unwrap();
        id = process.id();
        std::panic::resume_unwind(Box::new("an assertion"));
    }));
    assert!(failed.is_err());
    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
}

#[test]
fn a_held_port_is_bound_and_refuses_until_its_program_listens() {
    let port = HeldPort::new();
    // Without SO_REUSEADDR, as the kernel looks for a free port.
    let error = TcpSocket::new_v4().unwrap().bind(port.address()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(std::net::TcpStream::connect(port.address()).is_err());
    let listener = std::net::TcpListener::bind(port.address()).unwrap();
    std::net::TcpStream::connect(port.address()).unwrap();
    let error = std::net::TcpListener::bind(port.address()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    drop(listener);
}
