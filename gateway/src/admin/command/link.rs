//! The way to a gateway's admin listener.

use std::path::PathBuf;
use std::time::Duration;

use chunkproto::wire::ErrorBody;
use chunkproto::{ClusterSecret, NodeId};
use reqwest::{Client, RequestBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::orders::ORDERS_PATH;
use crate::admin::status::Status;
use crate::config::GatewayLink;
use crate::keys::KeyError;
use crate::recovery::RecoveryError;

/// A gateway answers in this time.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// … and one that has files to copy, or very many rows to read, in this.
const LONG_ANSWER_MAX: Duration = Duration::from_secs(6 * 3600);

/// Why an admin command failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Metadata was not brought back.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// Keys cannot be read or written.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// There is no secret to ask with.
    #[error(
        "the cluster secret is needed: set SEXTANT_CLUSTER_SECRET or --cluster-secret-file; the gateway \
         keeps it as cluster-secret in its metadata directory"
    )]
    NoSecret,
    /// The file with the secret cannot be used.
    #[error("{} cannot be used: {reason}", path.display())]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The gateway does not answer.
    #[error("{gateway} does not answer: {source}")]
    Unreachable {
        /// Its URL.
        gateway: String,
        /// What happened.
        source: reqwest::Error,
    },
    /// The gateway refuses.
    #[error("{0}")]
    Refused(String),
    /// No node has this name.
    #[error("no chunk server is called {0}; see: gateway admin node list")]
    NoNode(String),
    /// Several nodes have ids that begin so.
    #[error("{1} chunk servers have ids that begin with {0}; give more of it")]
    ManyNodes(String, usize),
    /// The drain was cancelled (undrain) while waiting.
    #[error("{0} is no longer draining: the drain was cancelled, or the chunk server was removed")]
    CalledOff(NodeId),
    /// The answer cannot be shown.
    #[error("the answer cannot be written: {0}")]
    Output(std::io::Error),
}

/// A gateway.
pub struct Link {
    client: Client,
    gateway: String,
    authorization: String,
}

impl Link {
    pub fn new(settings: &GatewayLink) -> Result<Self, AdminError> {
        let gateway = settings.gateway.trim_end_matches('/').to_owned();
        let client = Client::builder().no_proxy().timeout(ANSWER_MAX).build();
        let client = client.map_err(|source| AdminError::Unreachable {
            gateway: gateway.clone(),
            source,
        })?;
        Ok(Self {
            client,
            gateway,
            authorization: secret(settings)?.to_authorization(),
        })
    }

    /// How the cluster is.
    pub async fn status(&self) -> Result<Status, AdminError> {
        self.answer(self.client.get(self.url("/status"))).await
    }

    /// The answer to a GET as it is.
    pub async fn text(&self, path: &str) -> Result<String, AdminError> {
        let value: serde_json::Value = self.answer(self.client.get(self.url(path))).await?;
        Ok(format!("{value:#}\n"))
    }

    /// The answer to a GET below the orders' path.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminError> {
        let url = self.url(&format!("{ORDERS_PATH}{path}"));
        self.answer(self.client.get(url)).await
    }

    /// As [`ask`](Self::ask), for what may take long: a node may hold millions of chunks.
    pub async fn ask_for_hours<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminError> {
        let url = self.url(&format!("{ORDERS_PATH}{path}"));
        self.answer(self.client.get(url).timeout(LONG_ANSWER_MAX))
            .await
    }

    /// Gives an order.
    pub async fn order(&self, path: &str, body: &impl Serialize) -> Result<(), AdminError> {
        let url = self.url(&format!("{ORDERS_PATH}{path}"));
        let request = self.client.post(url).json(body);
        self.answer::<serde_json::Value>(request).await.map(|_| ())
    }

    /// Gives an order that is answered with more than its being done.
    pub async fn order_answered<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, AdminError> {
        let url = self.url(&format!("{ORDERS_PATH}{path}"));
        self.answer(self.client.post(url).json(body)).await
    }

    /// As [`order_answered`](Self::order_answered), for what may take hours.
    pub async fn order_of_hours<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, AdminError> {
        let url = self.url(&format!("{ORDERS_PATH}{path}"));
        let request = self.client.post(url).json(body).timeout(LONG_ANSWER_MAX);
        self.answer(request).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, AdminError> {
        let unreachable = |source| AdminError::Unreachable {
            gateway: self.gateway.clone(),
            source,
        };
        let request = request.header(http::header::AUTHORIZATION, &self.authorization);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map_err(unreachable);
        }
        let detail = match response.json::<ErrorBody>().await {
            Ok(body) => body.detail,
            Err(_) => format!("{} answered {status}", self.gateway),
        };
        Err(AdminError::Refused(detail))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway)
    }
}

fn secret(settings: &GatewayLink) -> Result<ClusterSecret, AdminError> {
    if let Some(secret) = &settings.cluster_secret {
        return Ok(secret.clone());
    }
    let path = settings.cluster_secret_file.as_ref();
    let path = path.ok_or(AdminError::NoSecret)?;
    let fail = |reason: String| AdminError::SecretFile {
        path: path.clone(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    ClusterSecret::parse(&text).map_err(|error| fail(error.to_string()))
}
