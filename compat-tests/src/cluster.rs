//! `gateway serve` and its chunk servers, each a process of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chunkproto::ChunkId;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::chunk_server::{ChunkServer, Proxies};
use crate::endpoint::Endpoint;
use crate::environment::server_program;
use crate::finished::{ADMIN_DEADLINE, Finished};
use crate::gateway_process::GatewayProcess;
use crate::proxy::Proxy;
use crate::wait::eventually;

/// The secret that the processes of every test cluster share.
pub const CLUSTER_SECRET: &str = "the-cluster-secret-of-all-tests";

/// Directory of the gateway's metadata and keys.
const METADATA_DIR: &str = "metadata";

/// A node is seen live within a heartbeat, and missed after six seconds without one.
const MEMBERSHIP_DEADLINE: Duration = Duration::from_secs(120);
/// A round of a job ends within a second or two of the order.
const PAUSED_DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks at what all nodes hold.
const LOOK_PERIOD: Duration = Duration::from_millis(200);

/// A cluster on this machine. Its processes and its data are gone with it.
#[derive(Debug)]
pub struct Cluster {
    gateway: GatewayProcess,
    nodes: Vec<ChunkServer>,
    // After the processes, so that nothing writes into it while it is removed.
    dir: TempDir,
}

impl Cluster {
    /// Starts a gateway that keeps `replicas` of each chunk, and `nodes` chunk servers; returns
    /// when the gateway takes them all for live.
    ///
    /// # Panics
    /// When a process does not become ready in time.
    pub async fn start(nodes: usize, replicas: u8) -> Self {
        Self::start_with(nodes, replicas, &[]).await
    }

    /// As [`start`](Self::start), with further settings of the gateway.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with(nodes: usize, replicas: u8, settings: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().expect("the temporary directory can be written");
        let metadata = dir.path().join(METADATA_DIR);
        let mut url = OsString::from("rocksdb:");
        url.push(&metadata);
        let mut arguments: Vec<OsString> = vec![
            "serve".into(),
            "--metadata".into(),
            url,
            "--replicas".into(),
            replicas.to_string().into(),
        ];
        for (flag, value) in settings {
            arguments.extend([flag.into(), value.into()]);
        }
        let gateway = GatewayProcess::start(arguments, dir.path()).await;
        let mut cluster = Self {
            gateway,
            nodes: Vec::new(),
            dir,
        };
        for _ in 0..nodes {
            cluster.add_node().await;
        }
        cluster.wait_for_live(nodes).await;
        cluster
    }

    /// Starts one more chunk server; returns its number.
    ///
    /// # Panics
    /// When it does not become ready in time.
    pub async fn add_node(&mut self) -> usize {
        self.add(Proxies::default()).await
    }

    /// The same, with a proxy between the gateway and it.
    ///
    /// # Panics
    /// As [`add_node`](Self::add_node).
    pub async fn add_node_behind_proxy(&mut self) -> usize {
        let data = Some(Proxy::start().await);
        self.add(Proxies { data, admin: None }).await
    }

    /// The same, with another proxy for what it says to the gateway.
    ///
    /// # Panics
    /// As [`add_node`](Self::add_node).
    pub async fn add_node_behind_two_proxies(&mut self) -> usize {
        let (data, admin) = (Some(Proxy::start().await), Some(Proxy::start().await));
        self.add(Proxies { data, admin }).await
    }

    /// The data directory of the chunk server that will be added next, to put a disk there.
    #[must_use]
    pub fn next_data(&self) -> PathBuf {
        self.dir.path().join(node_name(self.nodes.len()))
    }

    async fn add(&mut self, proxies: Proxies) -> usize {
        let number = self.nodes.len();
        let (name, dir) = (node_name(number), self.dir.path());
        let node = ChunkServer::start(name, dir, self.gateway.admin(), proxies).await;
        self.nodes.push(node);
        number
    }

    /// How many of the running nodes say that they hold each chunk.
    ///
    /// # Panics
    /// When one does not answer as it should.
    pub async fn copies(&self) -> BTreeMap<ChunkId, usize> {
        let mut copies = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            for chunk in node.chunks().await {
                *copies.entry(chunk.id).or_default() += 1;
            }
        }
        copies
    }

    /// Waits until the copies are as `expected` says.
    ///
    /// # Panics
    /// When that does not come within `deadline`; says what there was instead.
    pub async fn wait_for_copies(
        &self,
        deadline: Duration,
        expected: impl Fn(&BTreeMap<ChunkId, usize>) -> bool,
    ) {
        let began = Instant::now();
        loop {
            let copies = self.copies().await;
            if expected(&copies) {
                return;
            }
            assert!(began.elapsed() < deadline, "after {deadline:?}: {copies:?}");
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    }

    /// Where it answers S3 requests.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.gateway.endpoint()
    }

    /// The gateway, to stop it and start it again.
    pub fn gateway(&mut self) -> &mut GatewayProcess {
        &mut self.gateway
    }

    /// The directory of the gateway's metadata and keys.
    #[must_use]
    pub fn metadata(&self) -> PathBuf {
        self.dir.path().join(METADATA_DIR)
    }

    /// Runs a command of `gateway admin` that brings metadata back, in the place of the gateway,
    /// which must be stopped; `nodes` chunk servers must be there.
    ///
    /// # Panics
    /// When the program cannot be run, or does not end in time.
    pub async fn recover(&self, command: &str, nodes: usize, arguments: &[&str]) -> Finished {
        let mut url = OsString::from("rocksdb:");
        url.push(self.metadata());
        let mut program = Command::new(server_program("gateway"));
        program
            .env_clear()
            .env("SEXTANT_CLUSTER_SECRET", CLUSTER_SECRET);
        program.args(["admin", command, "--metadata"]).arg(url);
        let address = self.gateway.admin().trim_start_matches("http://");
        program.args(["--admin-listen", address, "--nodes", &nodes.to_string()]);
        Finished::of(program.args(arguments), ADMIN_DEADLINE).await
    }

    /// The chunk servers.
    #[must_use]
    pub fn nodes(&self) -> &[ChunkServer] {
        &self.nodes
    }

    /// A chunk server, to stop it and start it again.
    pub fn node(&mut self, number: usize) -> &mut ChunkServer {
        &mut self.nodes[number]
    }

    /// Waits until the gateway takes exactly `count` nodes for live and writable.
    ///
    /// # Panics
    /// When that does not come in time.
    pub async fn wait_for_live(&self, count: usize) {
        let what = format!("{count} live nodes");
        eventually(&what, MEMBERSHIP_DEADLINE, async || {
            let live = self
                .status()
                .await
                .iter()
                .filter(|node| is_live(node))
                .count();
            (live == count).then_some(())
        })
        .await;
    }

    /// The nodes as the gateway's `/status` shows them.
    ///
    /// # Panics
    /// When the gateway does not answer as it should.
    pub async fn status(&self) -> Vec<Value> {
        let status = self.whole_status().await;
        let nodes = status["nodes"].as_array();
        nodes.expect("the status lists the nodes").clone()
    }

    /// A background job as the gateway's `/status` shows it.
    ///
    /// # Panics
    /// When the gateway does not answer as it should, or has no such job.
    pub async fn job(&self, name: &str) -> Value {
        let status = self.whole_status().await;
        let jobs = status["jobs"].as_array();
        let jobs = jobs.expect("the status lists the jobs");
        let job = jobs.iter().find(|job| job["job"] == name);
        job.unwrap_or_else(|| panic!("no job {name}")).clone()
    }

    /// Pauses a background job, and waits until it rests.
    ///
    /// # Panics
    /// When it does not rest in time.
    pub async fn pause_job(&self, name: &str) {
        let paused = self.admin(&["job", "pause", name]).await;
        paused.expect("a job can be paused");
        eventually(&format!("{name} paused"), PAUSED_DEADLINE, async || {
            (self.job(name).await["state"] == "paused").then_some(())
        })
        .await;
    }

    /// Runs `gateway admin` with these words; what it printed, or why it refused.
    ///
    /// # Errors
    /// What the command said before it failed.
    ///
    /// # Panics
    /// When it cannot be started, or does not end in time.
    pub async fn admin(&self, words: &[&str]) -> Result<String, String> {
        let mut program = Command::new(server_program("gateway"));
        program.arg("admin").args(words);
        program
            .env_clear()
            .env("SEXTANT_ADMIN_URL", self.gateway.admin())
            .env("SEXTANT_CLUSTER_SECRET", CLUSTER_SECRET);
        Finished::of(&mut program, ADMIN_DEADLINE).await.outcome()
    }

    /// All of the gateway's `/status`.
    ///
    /// # Panics
    /// When the gateway does not answer as it should.
    pub async fn whole_status(&self) -> Value {
        let url = format!("{}/status", self.gateway.admin());
        let request = reqwest::Client::new().get(url).bearer_auth(CLUSTER_SECRET);
        let answer = request.send().await.expect("the gateway answers");
        answer.json().await.expect("the status is JSON")
    }
}

fn node_name(number: usize) -> String {
    format!("chunkd-{number}")
}

fn is_live(node: &Value) -> bool {
    node["state"] == "live" && node["writable"] == true
}
