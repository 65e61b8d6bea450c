//! A chunkd process of a cluster.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use chunkproto::ChunkInfo;
use chunkproto::wire::{CHUNKS_PATH, LIST_LIMIT_MAX, ListPage};

use crate::cluster::CLUSTER_SECRET;
use crate::proxy::Proxy;
use crate::server_process::ServerProcess;

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
    /// Through what the gateway reaches it.
    proxy: Option<Proxy>,
}

impl ChunkServer {
    /// Starts a chunk server named `name` in `dir` that registers with a gateway.
    pub(crate) async fn start(
        name: String,
        dir: &Path,
        gateway_admin: &str,
        proxy: Option<Proxy>,
    ) -> Self {
        let mut server = Self {
            process: None,
            dir: dir.to_owned(),
            name,
            gateway_admin: gateway_admin.to_owned(),
            address: String::new(),
            scrub_period_s: 0,
            proxy,
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
        let listen = match &self.proxy {
            None => "127.0.0.1:0".to_owned(),
            Some(_) => free_address(),
        };
        let flags = ["--listen", &listen, "--gateway", &self.gateway_admin];
        let mut arguments: Vec<OsString> = vec!["--data".into(), data];
        arguments.extend(flags.map(OsString::from));
        if let Some(proxy) = &self.proxy {
            proxy.lead_to(&listen);
            arguments.extend(["--advertise".into(), proxy.url().into()]);
        }
        let settings = [
            ("SEXTANT_CLUSTER_SECRET", CLUSTER_SECRET),
            (
                "SEXTANT_CHUNKD_SCRUB_PERIOD",
                &self.scrub_period_s.to_string(),
            ),
        ];
        let mut process =
            ServerProcess::start("chunkd", &self.name, &self.dir, &arguments, &settings);
        let line = process.ready_line("chunkd is ready at ").await;
        let advertised = line.split_whitespace().next();
        let advertised = advertised.expect("the line names the URL").to_owned();
        self.address = match &self.proxy {
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
        self.proxy.as_ref().expect("it was started behind a proxy")
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
        let url = format!("{}{CHUNKS_PATH}?limit={LIST_LIMIT_MAX}", self.address);
        let request = reqwest::Client::new().get(url).bearer_auth(CLUSTER_SECRET);
        let answer = request.send().await.expect("a chunk server answers");
        let mut page: ListPage = answer.json().await.expect("the answer is a page of chunks");
        assert!(!page.truncated, "a test's node holds one page of chunks");
        page.chunks.retain(|chunk| !chunk.id.is_of_metadata());
        page.chunks
    }
}

/// An address whose port was free a moment ago.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    address.to_string()
}
