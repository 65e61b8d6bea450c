//! The signals that a gateway heeds: SIGINT and SIGTERM end it, SIGHUP makes it read its certificate
//! again. Until they are watched, each of them kills the process at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, watched. What comes from then on is not missed, whenever it is asked for.
pub struct Signals {
    /// To end.
    pub stop: StopSignals,
    /// SIGHUP.
    pub hangup: Signal,
}

/// SIGINT and SIGTERM.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to watch them. To be called before a gateway is announced: whoever reads that it is ready
    /// may stop it.
    ///
    /// # Errors
    /// If the system does not let it.
    pub fn watch() -> io::Result<Self> {
        Ok(Self {
            stop: StopSignals {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            },
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl StopSignals {
    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
