//! Telling gateways that this node exists: register until it succeeds, then a heartbeat every
//! second. One task per gateway, running forever; logs only transitions.

use std::time::Duration;

use chunkproto::wire::{HEARTBEAT_PATH, REGISTER_PATH};
use chunkproto::{ClusterSecret, HeartbeatReply, Registration};
use http::header;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::fences::Fences;
use crate::node::ChunkNode;

/// How long a gateway may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What a node says of itself, the same to every gateway.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// Identity of this run of the process; see [`Registration::incarnation`].
    pub incarnation: Uuid,
    /// Base URL at which gateways and other nodes reach the chunk API.
    pub address: String,
    /// Failure zone; empty for a zone of its own.
    pub zone: String,
}

/// How often the gateways hear from the node.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// After the first failed registration; doubles with each further one.
    pub retry_first: Duration,
    /// Longest pause between registrations.
    pub retry_max: Duration,
}

impl Default for Pace {
    /// A gateway suspects a node that is silent for 6 s.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            retry_first: Duration::from_millis(200),
            retry_max: Duration::from_secs(2),
        }
    }
}

/// Announces `node` to each of the `gateways`, by the base URLs of their admin listeners, and tells
/// `fences` what they answer. The tasks run until the set is dropped.
#[must_use]
pub fn announce(
    gateways: &[String],
    announcement: &Announcement,
    node: &ChunkNode,
    fences: &Fences,
    secret: &ClusterSecret,
    pace: Pace,
) -> JoinSet<()> {
    let http = reqwest::Client::builder()
        .timeout(ANSWER_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .no_proxy()
        .build()
        .expect("a client without TLS and proxies needs nothing from the system");
    let mut tasks = JoinSet::new();
    for gateway in gateways {
        let link = Link {
            http: http.clone(),
            gateway: gateway.trim_end_matches('/').to_owned(),
            authorization: secret.to_authorization(),
            announcement: announcement.clone(),
            node: node.clone(),
            fences: fences.clone(),
        };
        tasks.spawn(link.keep(pace));
    }
    tasks
}

/// The link to one gateway.
struct Link {
    http: reqwest::Client,
    gateway: String,
    authorization: String,
    announcement: Announcement,
    node: ChunkNode,
    fences: Fences,
}

/// What was logged last, so that each change is logged once.
#[derive(PartialEq, Eq)]
enum Said {
    Nothing,
    Up,
    Down,
}

impl Link {
    async fn keep(self, pace: Pace) {
        let mut said = Said::Nothing;
        loop {
            self.register(pace, &mut said).await;
            self.heartbeat(pace, &mut said).await;
        }
    }

    /// Returns once the gateway has accepted the registration.
    async fn register(&self, pace: Pace, said: &mut Said) {
        let mut pause = pace.retry_first;
        loop {
            let registration = Registration {
                node_id: self.node.node_id(),
                incarnation: self.announcement.incarnation,
                address: self.announcement.address.clone(),
                zone: self.announcement.zone.clone(),
                state: self.node.heartbeat(self.announcement.incarnation),
            };
            match self.post(REGISTER_PATH, &registration).await {
                Ok(HeartbeatReply {
                    known: true,
                    fences,
                }) => {
                    self.fences.learn(&fences);
                    return self.say_up(said);
                }
                Ok(_) => {
                    self.say_down(said, "it refused the registration");
                }
                Err(reason) => self.say_down(said, &reason),
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(pace.retry_max);
        }
    }

    /// Returns once the gateway no longer knows the node. A heartbeat that is lost is not retried:
    /// the next one follows.
    async fn heartbeat(&self, pace: Pace, said: &mut Said) {
        let path = format!("{HEARTBEAT_PATH}/{}", self.node.node_id());
        loop {
            sleep(pace.heartbeat).await;
            let state = self.node.heartbeat(self.announcement.incarnation);
            match self.post(&path, &state).await {
                Ok(HeartbeatReply { known: true, .. }) => self.say_up(said),
                Ok(_) => return,
                Err(reason) => self.say_down(said, &reason),
            }
        }
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Result<HeartbeatReply, String> {
        let request = self
            .http
            .post(format!("{}{path}", self.gateway))
            .header(header::AUTHORIZATION, &self.authorization)
            .json(body);
        let response = request.send().await.map_err(|error| with_causes(&error))?;
        let status = response.status();
        if !status.is_success() {
            let text = response.text().await.unwrap_or_default();
            let text: String = text.chars().take(200).collect();
            return Err(format!("it answered {status} {text}"));
        }
        response.json().await.map_err(|error| with_causes(&error))
    }

    fn say_up(&self, said: &mut Said) {
        if *said != Said::Up {
            *said = Said::Up;
            tracing::info!(gateway = self.gateway, "registered");
        }
    }

    fn say_down(&self, said: &mut Said, reason: &str) {
        if *said != Said::Down {
            *said = Said::Down;
            tracing::warn!(
                gateway = self.gateway,
                reason,
                "not registered; trying again"
            );
        }
    }
}

/// Half to all of `pause`, so that nodes started together do not knock together.
fn jittered(pause: Duration) -> Duration {
    let dice = f64::from(Uuid::new_v4().as_bytes()[0]) / 255.0;
    pause.mul_f64(0.5 + dice / 2.0)
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
