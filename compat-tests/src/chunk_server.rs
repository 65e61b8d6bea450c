//! A chunkd process of a cluster.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chunkproto::wire::{CHUNKS_PATH, LIST_LIMIT_MAX, ListPage};
use chunkproto::{ChunkId, ChunkInfo};

use crate::cluster::CLUSTER_SECRET;
use crate::proxy::Proxy;
use crate::server_process::ServerProcess;
use crate::shifted_clock::ShiftedClock;

/// A chunk server that can be stopped and started again on the same data.
#[derive(Debug)]
pub struct ChunkServer {
    process: Option<ServerProcess>,
    name: String,
    dir: PathBuf,
    gateway_admin: String,
    address: String,
    /// Set before a start; 0 for no scrubbing.
    pub scrub_period_s: u64,
    /// Set before a start: the clock that it goes by, if not the machine's.
    pub clock: Option<ShiftedClock>,
    proxies: Proxies,
}

/// What stands between a chunk server and the gateway.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    /// Through what the gateway, and other chunk servers, reach it.
    pub(crate) data: Option<Proxy>,
    /// Through what it reaches the gateway.
    pub(crate) admin: Option<Proxy>,
}

impl ChunkServer {
    /// Starts a chunk server named `name` in `dir` that registers with a gateway.
    pub(crate) async fn start(
        name: String,
        dir: &Path,
        gateway_admin: &str,
        proxies: Proxies,
    ) -> Self {
        if let Some(admin) = &proxies.admin {
            admin.lead_to(gateway_admin.trim_start_matches("http://"));
        }
        let seen_as = proxies.admin.as_ref().map(Proxy::url);
        let mut server = Self {
            process: None,
            dir: dir.to_owned(),
            name,
            gateway_admin: seen_as.unwrap_or_else(|| gateway_admin.to_owned()),
            address: String::new(),
            scrub_period_s: 0,
            clock: None,
            proxies,
        };
        server.start_again().await;
        server
    }

    /// Starts the stopped server again on its data; its port is another one.
    ///
    /// # Panics
    /// When it does not become ready in time.
    pub async fn start_again(&mut self) {
        self.process = None;
        let data = self.data().into_os_string();
        let listen = match &self.proxies.data {
            None => "127.0.0.1:0".to_owned(),
            Some(_) => free_address(),
        };
        let flags = ["--listen", &listen, "--gateway", &self.gateway_admin];
        let mut arguments: Vec<OsString> = vec!["--data".into(), data];
        arguments.extend(flags.map(OsString::from));
        if let Some(proxy) = &self.proxies.data {
            proxy.lead_to(&listen);
            arguments.extend(["--advertise".into(), proxy.url().into()]);
        }
        let scrub_period_s = self.scrub_period_s.to_string();
        let mut settings = vec![
            ("SEXTANT_CLUSTER_SECRET", CLUSTER_SECRET),
            ("SEXTANT_CHUNKD_SCRUB_PERIOD", &scrub_period_s),
        ];
        settings.extend(self.clock.iter().flat_map(ShiftedClock::settings));
        let mut process =
            ServerProcess::start("chunkd", &self.name, &self.dir, &arguments, &settings);
        let line = process.ready_line("chunkd is ready at ").await;
        let advertised = line.split_whitespace().next();
        let advertised = advertised.expect("the line names the URL").to_owned();
        self.address = match &self.proxies.data {
            None => advertised,
            Some(_) => format!("http://{listen}"),
        };
        self.process = Some(process);
    }

    /// The proxy that the gateway reaches it through.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        let proxy = self.proxies.data.as_ref();
        proxy.expect("it was started behind a proxy")
    }

    /// The proxy that it reaches the gateway through.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn admin_proxy(&self) -> &Proxy {
        let proxy = self.proxies.admin.as_ref();
        proxy.expect("it was started behind two proxies")
    }

    /// The running process.
    ///
    /// # Panics
    /// When it is stopped.
    #[must_use]
    pub fn process(&self) -> &ServerProcess {
        self.process.as_ref().expect("the chunk server runs")
    }

    /// Base URL of its chunk API, not through a proxy.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// Everything that its running process, and those before it, have logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process
            .as_ref()
            .map_or_else(String::new, ServerProcess::log)
    }

    /// Whether it was started and not stopped since.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Stops it with SIGTERM; it must end cleanly.
    pub async fn terminate(&mut self) {
        if let Some(process) = self.process.take() {
            process.terminate().await;
        }
    }

    /// Stops it with SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// All chunks of objects that it says it holds.
    ///
    /// # Panics
    /// When it does not answer as it should.
    pub async fn chunks(&self) -> Vec<ChunkInfo> {
        let mut chunks = self.all_chunks().await;
        chunks.retain(|chunk| !chunk.id.is_of_metadata());
        chunks
    }

    /// Everything that it says it holds, the metadata's backups too.
    ///
    /// # Panics
    /// When it does not answer as it should.
    pub async fn all_chunks(&self) -> Vec<ChunkInfo> {
        let url = format!("{}{CHUNKS_PATH}?limit={LIST_LIMIT_MAX}", self.address);
        let request = reqwest::Client::new().get(url).bearer_auth(CLUSTER_SECRET);
        let answer = request.send().await.expect("a chunk server answers");
        let page: ListPage = answer.json().await.expect("the answer is a page of chunks");
        assert!(!page.truncated, "a test's node holds one page of chunks");
        page.chunks
    }

    /// A number among its metrics.
    ///
    /// # Panics
    /// When there is none of this name.
    pub async fn metric(&self, name: &str) -> u64 {
        let url = format!("{}/metrics", self.address);
        let answer = reqwest::get(url).await.expect("a chunk server answers");
        let text = answer.text().await.expect("metrics are text");
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("{name} is no number in {text}"))
    }

    /// Reads its copy of a chunk to the end, which it verifies; its bytes.
    ///
    /// # Errors
    /// What it says of a copy that it does not give out, or that the copy broke off.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn read_copy(&self, chunk: ChunkId) -> Result<Bytes, String> {
        let url = format!("{}{CHUNKS_PATH}/{chunk}", self.address);
        let request = reqwest::Client::new().get(url).bearer_auth(CLUSTER_SECRET);
        let answer = request.send().await.expect("a chunk server answers");
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| error.to_string())?;
        match status.is_success() {
            true => Ok(body),
            false => Err(String::from_utf8_lossy(&body).into_owned()),
        }
    }
}

/// An address whose port was free a moment ago.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    address.to_string()
}
