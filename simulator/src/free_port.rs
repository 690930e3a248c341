//! Ports for programs that tests start.

use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    ops::Range,
    process,
    sync::{Mutex, PoisonError},
};

/// The ports that [`free_port`] returns. Operating systems give higher ports to outgoing connections and to listeners
/// on port 0: Linux from 32768 on, others from 49152 on. If `free_port` returned such a port, a connection or another
/// listener could take the port before the program under test listens on it.
const PORTS: Range<u16> = 20_000..32_000;

/// The ports that this process has reserved. For each port, the process holds a UDP socket on the same port number. The
/// socket keeps other test processes off the port. A program can still listen on the port with TCP.
static RESERVED: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// A loopback port for a program that is told its port when it starts. No other call returns the same port until this
/// process ends, not even a call in another process.
///
/// # Panics
///
/// If all ports are taken.
#[must_use]
pub fn free_port() -> u16 {
    let mut reserved = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
    // Each process begins at another place, so that processes rarely try the same port.
    let count = usize::from(PORTS.end - PORTS.start);
    let first = process::id() as usize * 101 % count + reserved.len();
    let free = PORTS.cycle().skip(first).take(count).find_map(|port| {
        let reservation = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        Some((port, reservation))
    });
    let Some((port, reservation)) = free else {
        panic!("no port from {} to {} is free", PORTS.start, PORTS.end - 1)
    };
    reserved.push(reservation);
    port
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, thread};

    #[test]
    fn ports_are_different_and_reserved_and_can_be_listened_on() {
        let calls: Vec<_> = (0..8)
            .map(|_| thread::spawn(|| (0..25).map(|_| free_port()).collect::<Vec<_>>()))
            .collect();
        let ports: Vec<_> = calls
            .into_iter()
            .flat_map(|call| call.join().unwrap())
            .collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        for port in ports {
            assert!(PORTS.contains(&port));
            assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
            assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_err());
        }
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_left_out() {
        let before = usize::from(free_port() - PORTS.start);
        let listeners: Vec<_> = PORTS
            .cycle()
            .skip(before + 1)
            .take(50)
            .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
            .collect();
        let taken: Vec<_> = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        for _ in 0..50 {
            assert!(!taken.contains(&free_port()));
        }
    }
}
