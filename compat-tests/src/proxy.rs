//! A TCP proxy before a server: it passes bytes on, slows them down, cuts connections off, or kills a
//! process at a moment that only the wire shows.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How much is passed on at a time.
const PIECE_BYTES: usize = 64 << 10;
/// How an answer begins that says that something was done.
const DONE: &[u8] = b"HTTP/1.1 2";

/// What a proxy does with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Passes it on.
    Open,
    /// Passes each piece on after so long.
    Slow(Duration),
    /// Passes nothing on and ends nothing, as a network does that loses every packet.
    Silent,
    /// Ends all connections and takes no more.
    Cut,
}

/// A proxy on a port of its own; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    authority: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<String>,
    passage: watch::Sender<Passage>,
    kill: Mutex<Option<Kill>>,
}

/// When a process is to be killed.
#[derive(Debug)]
struct Kill {
    request: &'static str,
    pid: u32,
}

impl Proxy {
    /// A proxy before nothing yet; see [`lead_to`](Self::lead_to).
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            upstream: Mutex::default(),
            passage: watch::Sender::new(Passage::Open),
            kill: Mutex::default(),
        });
        Self {
            authority: address.to_string(),
            task: tokio::spawn(accept(listener, Arc::clone(&shared))),
            shared,
        }
    }

    /// Leads new connections to `authority`, such as `127.0.0.1:9000`.
    pub fn lead_to(&self, authority: &str) {
        authority.clone_into(&mut lock(&self.shared.upstream));
    }

    /// Base URL of the proxy.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// From now on treats connections so, those that are open too.
    pub fn set(&self, passage: Passage) {
        self.shared.passage.send_replace(passage);
    }

    /// Kills process `pid` as soon as the server begins to answer that a request was done which
    /// begins with `request`; nobody receives the answer. Once.
    pub fn kill_at_answer(&self, request: &'static str, pid: u32) {
        *lock(&self.shared.kill) = Some(Kill { request, pid });
    }

    /// Whether the process of [`kill_at_answer`](Self::kill_at_answer) was killed.
    #[must_use]
    pub fn has_killed(&self) -> bool {
        lock(&self.shared.kill).is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.set(Passage::Cut);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut passage = shared.passage.subscribe();
            tokio::select! {
                // However it ends, both sides see their connection closed.
                _ = connect_and_pass(client, &shared) => {}
                _ = passage.wait_for(|passage| *passage == Passage::Cut) => {}
            }
        });
    }
}

async fn connect_and_pass(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let upstream = lock(&shared.upstream).clone();
    let mut server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut asked, mut answered) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let mut watched = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let piece = &asked[..read?];
                if piece.is_empty() {
                    return Ok(());
                }
                watched |= shared.watches(piece);
                shared.wait().await;
                server.write_all(piece).await?;
            }
            read = server.read(&mut answered) => {
                let piece = &answered[..read?];
                if piece.is_empty() || (watched && piece.starts_with(DONE) && shared.kill()) {
                    return Ok(());
                }
                shared.wait().await;
                client.write_all(piece).await?;
            }
        }
    }
}

impl Shared {
    fn watches(&self, piece: &[u8]) -> bool {
        let kill = lock(&self.kill);
        kill.as_ref()
            .is_some_and(|kill| piece.starts_with(kill.request.as_bytes()))
    }

    /// True if a process was killed now.
    fn kill(&self) -> bool {
        let Some(kill) = lock(&self.kill).take() else {
            return false;
        };
        let pid = i32::try_from(kill.pid).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a process id is positive");
        kill_process(pid, Signal::KILL).expect("a process of this test can be killed");
        true
    }

    /// Returns when the next piece may go on.
    async fn wait(&self) {
        let mut passage = self.passage.subscribe();
        let audible = passage
            .wait_for(|passage| *passage != Passage::Silent)
            .await;
        // It fails only once the sender is gone, which stands beside.
        let passage = audible.map_or(Passage::Cut, |passage| *passage);
        if let Passage::Slow(pause) = passage {
            tokio::time::sleep(pause).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
