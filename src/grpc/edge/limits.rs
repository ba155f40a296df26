//! What the edge takes on at most.

use std::{num::NonZeroUsize, thread::available_parallelism, time::Duration};

/// What the edge takes on at most. [`Limits::default`] holds what a server in production should start from.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Serving threads, each with its own runtime; 0 counts as 1.
    pub threads: usize,
    /// Open connections of a listener over all peers; more are closed at once, but for a few in which pages are served.
    pub connections_max: usize,
    /// Open connections of one peer (an IPv4 address or an IPv6 /64) on a listener; more are closed at once.
    pub connections_per_peer_max: usize,
    /// Time a new connection has until its first call, the HTTP/2 preface included.
    pub first_request_timeout: Duration,
    /// HTTP/1.1: time for a request's head, the wait for the next request on a kept connection included.
    pub head_timeout: Duration,
    /// HTTP/1.1: headers of one request, in lines.
    pub headers_max: usize,
    /// HTTP/1.1: time for which a peer may leave sent bytes unacknowledged, or not take more, before its connection is
    /// cut. HTTP/2 has its pings for that.
    pub unacknowledged_max: Duration,
    /// Age at which a connection is asked to go (spread by ± 10 %), so that load follows new replicas; open calls may
    /// end in their own time. `None` lets connections live for ever.
    pub connection_age_max: Option<Duration>,
    /// Calls open at once on one connection. Providers of one process share a connection, and each holds a stream for ever: with
    /// no more than those, no call would get through.
    pub streams_per_connection_max: u32,
    /// Streams that a client may have opened and reset before they were looked at.
    pub pending_reset_streams_max: usize,
    /// Streams that the server may have reset for protocol errors before it drops the connection.
    pub local_error_reset_streams_max: usize,
    /// Silence after which the peer is pinged; `None` never pings.
    pub keep_alive_interval: Option<Duration>,
    /// Time the peer has to answer a ping.
    pub keep_alive_timeout: Duration,
    /// Request headers of one call in bytes, decompressed.
    pub header_list_bytes_max: u32,
    /// Flow-control window of a stream in bytes: what one call may have in flight towards the server.
    pub stream_window_bytes: u32,
    /// Flow-control window of a connection in bytes.
    pub connection_window_bytes: u32,
    /// Largest HTTP/2 frame accepted, 16,384 to 16,777,215 bytes.
    pub frame_bytes_max: u32,
    /// Bytes of answers kept for one stream whose reader is slow.
    pub send_buffer_bytes_max: usize,
    /// Largest request message in bytes, as sent and decompressed, in protobuf or in JSON;
    /// [`super::Methods::set_message_bytes_max`] overrides it. Services need at least as much as their
    /// `max_decoding_message_size`.
    pub message_bytes_max: usize,
    /// Longest time a unary call may take, whatever the client asks for; [`super::Methods::set_deadline`] overrides it.
    pub unary_deadline: Duration,
    /// Unary calls open at once over all connections; more are refused. Health checks are not counted.
    pub calls_in_flight_max: usize,
    /// Streaming calls open at once over all connections; more are refused.
    pub streams_open_max: usize,
    /// Time open calls get to end once the drain began; then their connections are cut.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            threads: available_parallelism().map_or(1, NonZeroUsize::get),
            connections_max: 10_000,
            connections_per_peer_max: 1_000,
            first_request_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            headers_max: 100,
            unacknowledged_max: Duration::from_secs(50),
            connection_age_max: Some(Duration::from_secs(450)),
            streams_per_connection_max: 6_000,
            pending_reset_streams_max: 20,
            local_error_reset_streams_max: 1_024,
            keep_alive_interval: Some(Duration::from_secs(30)),
            keep_alive_timeout: Duration::from_secs(20),
            header_list_bytes_max: 16 << 10,
            stream_window_bytes: 256 << 10,
            connection_window_bytes: 1 << 20,
            frame_bytes_max: 16 << 10,
            send_buffer_bytes_max: 256 << 10,
            message_bytes_max: 1 << 20,
            unary_deadline: Duration::from_secs(10),
            calls_in_flight_max: 2_000,
            streams_open_max: 5_000,
            drain_timeout: Duration::from_secs(20),
        }
    }
}
