//! A server under load: its address and its process.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::echo::Echo;

/// Linux counts a process's time in hundredths of a second, whatever the kernel's own clock does.
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pid: u32,
    /// Ours to end.
    child: Option<Child>,
}

impl Target {
    pub(crate) fn attach(name: String, address: SocketAddr, pid: u32) -> Self {
        Self { name, address, pid, child: None }
    }

    /// This program once more, as a server.
    pub(crate) fn spawn(kind: Echo, reply_bytes: usize) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["serve-echo", kind.name(), "--reply-bytes", &reply_bytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().parse().unwrap();
        Self { name: kind.name().to_owned(), address, pid: child.id(), child: Some(child) }
    }

    /// User and system time so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        // The second field is the name in brackets and may hold anything; utime and stime are fields 14 and 15.
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11);
        let ticks: u32 = fields.take(2).map(|field| field.parse::<u32>().unwrap()).sum();
        TICK * ticks
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
