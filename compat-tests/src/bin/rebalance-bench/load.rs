//! A steady load: requests begin at set times, however long others take, and their latencies count
//! from those times.

use std::time::{Duration, Instant};

use bytes::Bytes;
use compat_tests::{Endpoint, Payload, SignedRequest};
use futures::StreamExt as _;
use http::Method;
use tokio::task::JoinSet;

const BUCKET: &str = "bench";
/// Presigned URLs are good for so long; no run lasts longer.
const VALIDITY: Duration = Duration::from_secs(3600);
/// Objects written at a time before the measurement.
const FILLING: usize = 8;
/// Keys that PUTs overwrite in turn.
const PUT_KEYS: u64 = 500;

/// What it takes to send requests.
pub(crate) struct Load {
    client: reqwest::Client,
    gets: Vec<http::Request<Bytes>>,
    puts: Vec<http::Request<Bytes>>,
}

/// How long requests took.
#[derive(Debug, Default)]
pub(crate) struct Took {
    gets: Vec<Duration>,
    puts: Vec<Duration>,
}

impl Load {
    /// Fills the bucket with objects of `size_bytes`, and signs requests for them.
    pub(crate) async fn prepare(endpoint: &Endpoint, size_bytes: u64, fill_mib: u64) -> Self {
        let body = Payload::new(1, size_bytes).bytes();
        let request = |method: Method, key: &str, body: &Bytes| {
            let path = format!("/{BUCKET}{key}");
            let request = SignedRequest::new(endpoint, method, &path).body(body.clone());
            request.presigned(VALIDITY).sign()
        };
        let objects = (fill_mib << 20) / size_bytes;
        let get = |number| request(Method::GET, &format!("/kept/{number}"), &Bytes::new());
        let put = |number| request(Method::PUT, &format!("/put/{number}"), &body);
        let load = Self {
            client: reqwest::Client::new(),
            gets: (0..objects).map(get).collect(),
            puts: (0..PUT_KEYS).map(put).collect(),
        };
        load.send(&request(Method::PUT, "", &Bytes::new())).await;
        let fill = (0..objects)
            .map(|number| request(Method::PUT, &format!("/kept/{number}"), &body))
            .map(async |request| load.send(&request).await);
        futures::stream::iter(fill)
            .buffer_unordered(FILLING)
            .collect::<()>()
            .await;
        load
    }

    /// Sends so many GETs and PUTs a second for `span`, and waits for their answers.
    pub(crate) async fn run(&self, span: Duration, gets_per_s: u32, puts_per_s: u32) -> Took {
        let (gets, puts) = futures::join!(
            self.send_evenly(&self.gets, span, gets_per_s),
            self.send_evenly(&self.puts, span, puts_per_s),
        );
        Took { gets, puts }
    }

    async fn send_evenly(
        &self,
        requests: &[http::Request<Bytes>],
        span: Duration,
        per_s: u32,
    ) -> Vec<Duration> {
        let requests = requests.iter().cycle();
        let (began, mut under_way) = (Instant::now(), JoinSet::new());
        // A stride that meets old and new objects alike.
        for (number, request) in (0_u32..).zip(requests.step_by(97)) {
            let due = began + Duration::from_secs(number.into()) / per_s;
            if due >= began + span {
                break;
            }
            tokio::time::sleep_until(due.into()).await;
            let (client, request) = (self.client.clone(), request.clone());
            under_way.spawn(async move {
                exchange(&client, &request).await;
                due.elapsed()
            });
        }
        under_way.join_all().await
    }

    async fn send(&self, request: &http::Request<Bytes>) {
        exchange(&self.client, request).await;
    }
}

/// Sends a request and reads the answer, which must be a good one.
async fn exchange(client: &reqwest::Client, request: &http::Request<Bytes>) {
    let request = reqwest::Request::try_from(request.clone()).expect("the URL is whole");
    let answer = client.execute(request).await.expect("an answer comes");
    let status = answer.status();
    let body = answer.bytes().await.expect("the answer arrives whole");
    assert!(status.is_success(), "{status}: {body:?}");
}

impl Took {
    /// Adds those of another span.
    pub(crate) fn add(&mut self, other: Self) {
        self.gets.extend(other.gets);
        self.puts.extend(other.puts);
    }

    /// These beside those with the job at work.
    pub(crate) fn table(mut self, with: &Self) -> String {
        let mut text =
            "      requests     p50 ms  with   ratio    p99 ms  with   ratio\n".to_owned();
        let rows = [
            ("GET", &mut self.gets, with.gets.clone()),
            ("PUT", &mut self.puts, with.puts.clone()),
        ];
        for (name, without, mut with) in rows {
            without.sort_unstable();
            with.sort_unstable();
            text.push_str(&format!("{name}   {:>8}", without.len() + with.len()));
            for percent in [50, 99] {
                let (one, other) = (
                    percentile_ms(without, percent),
                    percentile_ms(&with, percent),
                );
                text.push_str(&format!("   {one:>7.2} {other:>7.2} {:>6.2}", other / one));
            }
            text.push('\n');
        }
        text
    }
}

/// Of sorted times; 0 if there are none.
fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let found = sorted.get((sorted.len() * percent / 100).min(last));
    found.map_or(0.0, |took| took.as_secs_f64() * 1e3)
}
