//! Registration and heartbeats against a gateway that follows a script.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chunkd::Fences;
use chunkd::registration::{Announcement, Pace, announce};
use chunkproto::wire::{HEARTBEAT_PATH, REGISTER_PATH};
use chunkproto::{ChunkId, Heartbeat, Registration};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::kit::{fresh_node, put, secret};

/// A request that the gateway got: its path and body.
type Got = (String, Bytes);

/// A gateway that reports what it gets, and gives the answers in turn, then "known" for ever.
struct Gateway {
    url: String,
    got: mpsc::UnboundedReceiver<Got>,
    _connections: JoinSet<()>,
}

impl Gateway {
    async fn start(script: Vec<(u16, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (report, got) = mpsc::unbounded_channel();
        let script = Arc::new(Mutex::new(script.into_iter()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (report, script) = (report.clone(), Arc::clone(&script));
                let service =
                    service_fn(move |request| answer(request, report.clone(), Arc::clone(&script)));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Self {
            url,
            got,
            _connections: tasks,
        }
    }

    async fn next(&mut self) -> Got {
        tokio::time::timeout(Duration::from_secs(20), self.got.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

async fn answer(
    request: Request<Incoming>,
    report: mpsc::UnboundedSender<Got>,
    script: Arc<Mutex<std::vec::IntoIter<(u16, &'static str)>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert!(secret().admits(request.headers()));
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let (status, text) = script
        .lock()
        .unwrap()
        .next()
        .unwrap_or((200, r#"{"known":true}"#));
    let _ = report.send((path, body));
    let answer = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    Ok(answer.body(Full::from(text)).unwrap())
}

#[tokio::test]
async fn a_node_registers_until_it_is_known_then_beats_and_registers_again_when_forgotten() {
    let (_dir, node) = fresh_node();
    put(&node, ChunkId::generate(), b"eight by").await.unwrap();
    let mut gateway = Gateway::start(vec![
        (503, "starting"),
        (200, "{"),
        (200, r#"{"known":false}"#),
        (200, r#"{"known":true,"fences":[{"job":"gc","token":7}]}"#),
        (200, r#"{"known":true}"#),
        (500, "a hiccup"),
        (200, r#"{"known":false}"#),
    ])
    .await;
    let me = Announcement {
        incarnation: Uuid::now_v7(),
        address: "http://me:9100".into(),
        zone: "rack".into(),
    };
    let pace = Pace {
        heartbeat: Duration::from_millis(2),
        retry_first: Duration::from_millis(1),
        retry_max: Duration::from_millis(2),
    };
    let gateways = [format!("{}/", gateway.url)];
    let fences = Fences::unlearnt();
    let links = announce(&gateways, &me, &node, &fences, &secret(), pace);

    for _ in 0..4 {
        let (path, body) = gateway.next().await;
        assert_eq!(path, REGISTER_PATH);
        let registration: Registration = serde_json::from_slice(&body).unwrap();
        assert_eq!(registration.node_id, node.node_id());
        assert_eq!(
            (registration.address, registration.zone),
            (me.address.clone(), me.zone.clone())
        );
        assert_eq!(registration.state.incarnation, me.incarnation);
        assert_eq!(registration.state.used_bytes, 8);
    }
    for _ in 0..3 {
        let (path, body) = gateway.next().await;
        assert_eq!(path, format!("{HEARTBEAT_PATH}/{}", node.node_id()));
        let beat: Heartbeat = serde_json::from_slice(&body).unwrap();
        assert_eq!((beat.incarnation, beat.chunk_count), (me.incarnation, 1));
        assert!(beat.writable && beat.capacity_bytes > 0);
    }
    assert_eq!(gateway.next().await.0, REGISTER_PATH);
    assert!(gateway.next().await.0.starts_with(HEARTBEAT_PATH));
    drop(links);
    // What the gateway said of earlier lease holders holds from the registration on.
    assert!(fences.admit("gc=6".parse().unwrap()).await.is_err());
    assert!(fences.admit("gc=7".parse().unwrap()).await.is_ok());
}

#[tokio::test]
async fn one_gateway_that_is_away_does_not_keep_the_others_waiting() {
    let (_dir, node) = fresh_node();
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap(); // never accepts
    let mut gateway = Gateway::start(vec![]).await;
    let me = Announcement {
        incarnation: Uuid::now_v7(),
        address: String::new(),
        zone: String::new(),
    };
    let gateways = [
        format!("http://{}", away.local_addr().unwrap()),
        gateway.url.clone(),
    ];
    let _links = announce(
        &gateways,
        &me,
        &node,
        &Fences::unlearnt(),
        &secret(),
        Pace::default(),
    );
    assert_eq!(gateway.next().await.0, REGISTER_PATH);
    assert!(gateway.next().await.0.starts_with(HEARTBEAT_PATH));
}
