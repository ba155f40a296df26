//! Caps on connections and calls. Both count down when their place is dropped.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use prometheus::IntGauge;

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    Server,
    Peer,
}

/// Open connections, in total and by peer. Beyond either cap there is a reserve, so that a probe finds its way in.
#[derive(Debug)]
pub(super) struct Connections {
    total_max: usize,
    per_peer_max: usize,
    reserve_max: usize,
    by_peer: Mutex<ByPeer>,
}

#[derive(Debug, Default)]
struct ByPeer {
    total: usize,
    reserve: usize,
    open: HashMap<IpAddr, usize>,
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    connections: Arc<Connections>,
    /// `None` for a place in the reserve.
    peer: Option<IpAddr>,
}

impl ConnectionPlace {
    pub(super) fn is_reserve(&self) -> bool {
        self.peer.is_none()
    }
}

impl Connections {
    pub(super) fn new(total_max: usize, per_peer_max: usize, reserve_max: usize) -> Self {
        Self { total_max, per_peer_max, reserve_max, by_peer: Mutex::default() }
    }

    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<ConnectionPlace, Full> {
        let peer = peer_of(address);
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let full = if by_peer.total >= self.total_max {
            Some(Full::Server)
        } else if by_peer.open.get(&peer).is_some_and(|open| *open >= self.per_peer_max) {
            Some(Full::Peer)
        } else {
            None
        };
        match full {
            None => {
                *by_peer.open.entry(peer).or_insert(0) += 1;
                by_peer.total += 1;
            }
            Some(_) if by_peer.reserve < self.reserve_max => by_peer.reserve += 1,
            Some(full) => return Err(full),
        }
        let peer = full.is_none().then_some(peer);
        Ok(ConnectionPlace { connections: Arc::clone(self), peer })
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut by_peer = self.connections.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(peer) = self.peer else {
            by_peer.reserve = by_peer.reserve.saturating_sub(1);
            return;
        };
        by_peer.total = by_peer.total.saturating_sub(1);
        if let Some(open) = by_peer.open.get_mut(&peer) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                by_peer.open.remove(&peer);
            }
        }
    }
}

/// A host commands a whole IPv6 /64, so that counts as one peer; an IPv4 address in IPv6 clothes counts as IPv4.
fn peer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Open calls of one kind.
#[derive(Debug)]
pub(super) struct Calls {
    max: usize,
    open: AtomicUsize,
    gauge: IntGauge,
}

/// One call's place.
#[derive(Debug)]
pub(super) struct CallPlace(Arc<Calls>);

impl Calls {
    pub(super) fn new(max: usize, gauge: IntGauge) -> Self {
        Self { max, open: AtomicUsize::new(0), gauge }
    }

    pub(super) fn take(self: &Arc<Self>) -> Option<CallPlace> {
        // The place exists before the check, so a refusal gives its count back by dropping it.
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        self.gauge.inc();
        let place = CallPlace(Arc::clone(self));
        (before < self.max).then_some(place)
    }
}

impl Drop for CallPlace {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_cap_is_its_own_and_places_come_back() {
        let connections = Arc::new(Connections::new(3, 2, 0));
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        let other: IpAddr = "10.0.0.2".parse().unwrap();
        let first = connections.take(one).unwrap();
        let _second = connections.take(one).unwrap();
        assert_eq!(connections.take(one).unwrap_err(), Full::Peer);
        let _third = connections.take(other).unwrap();
        assert_eq!(connections.take(other).unwrap_err(), Full::Server);
        drop(first);
        assert!(connections.take(one).is_ok());
    }

    #[test]
    fn the_reserve_is_there_when_nothing_else_is_and_only_then() {
        let connections = Arc::new(Connections::new(1, 1, 1));
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let first = connections.take(peer).unwrap();
        let reserve = connections.take(peer).unwrap();
        assert!(!first.is_reserve() && reserve.is_reserve());
        assert!(connections.take(peer).is_err());
        drop(reserve);
        assert!(connections.take(peer).unwrap().is_reserve());
        drop(first);
        assert!(!connections.take(peer).unwrap().is_reserve());
    }

    #[test]
    fn an_ipv6_network_is_one_peer_and_mapped_ipv4_is_ipv4() {
        let of = |text: &str| peer_of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }

    #[test]
    fn a_refused_call_takes_no_place() {
        let calls = Arc::new(Calls::new(1, IntGauge::new("open", "open").unwrap()));
        let first = calls.take().unwrap();
        assert!(calls.take().is_none());
        assert!(calls.take().is_none());
        drop(first);
        assert!(calls.take().is_some());
    }
}
