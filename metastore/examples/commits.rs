//! How many commits a second the store on disk makes durable, and what one costs in CPU time and
//! context switches: `cargo run --release -p metastore --example commits -- DIRECTORY SECONDS`.
//! Each line is a fresh store in a directory of its own below DIRECTORY, removed afterwards.
//! Clients are tasks, each with one commit under way at a time, of a new key every time.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chunkproto::{ChunkId, Crc64, NodeId};
use metastore::{
    BodyId, Bucket, BucketId, BucketName, ChunkLayout, ChunkRef, CommitObject, InlineBody,
    Metastore, ObjectData, ObjectKey, ObjectVersion, RocksMetastore, Scheme, Sequence,
    SystemHeaders, Timestamp, VersionId, WriteCondition,
};
use tokio::task::JoinSet;

const CLIENTS: [usize; 4] = [1, 16, 32, 64];
/// What the user metadata is padded to, so that the rows of a commit add up to about 400 bytes.
const PADDING_BYTES: usize = 100;
const BODY_BYTES: usize = 4096;
/// Ticks of the CPU clock in `/proc/self/stat`.
const TICKS_PER_S: f64 = 100.0;

/// What a commit carries.
#[derive(Clone, Copy)]
enum Kind {
    /// One chunk on one node.
    Chunk,
    /// A short body.
    Inline,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(seconds)) = (arguments.next(), arguments.next()) else {
        return Err("usage: commits DIRECTORY SECONDS".into());
    };
    let span = Duration::from_secs_f64(seconds.parse()?);
    println!(
        "rows    clients  commits/s   p50 us   p99 us   cpu us  switches   (the last two per commit)"
    );
    for (kind, label) in [(Kind::Chunk, "400 B"), (Kind::Inline, "4 KiB")] {
        for clients in CLIENTS {
            let path = Path::new(&directory).join("commits-example");
            let line = measure(&path, kind, clients, span).await?;
            println!("{label:6} {clients:>8} {line}");
        }
    }
    Ok(())
}

/// Commits from `clients` tasks for `span` and says how that went.
async fn measure(
    path: &Path,
    kind: Kind,
    clients: usize,
    span: Duration,
) -> Result<String, Box<dyn Error>> {
    let store: Arc<dyn Metastore> = Arc::new(RocksMetastore::open(path)?);
    let bucket = bucket(store.as_ref()).await?;
    let (cpu_before, switches_before) = (cpu_ticks()?, switches()?);
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut took = Vec::new();
            while begin.elapsed() < span {
                let sent = Instant::now();
                let row = commit(bucket, kind, &format!("{client}/{}", took.len()));
                store
                    .commit_object(row)
                    .await
                    .map(|_| took.push(sent.elapsed()))?;
            }
            Ok::<_, metastore::MetaError>(took)
        });
    }
    let mut took = Vec::new();
    while let Some(client) = tasks.join_next().await {
        took.extend(client??);
    }
    let (count, elapsed) = (took.len() as f64, begin.elapsed().as_secs_f64());
    let cpu = (cpu_ticks()? - cpu_before) / TICKS_PER_S * 1e6 / count;
    let switched = (switches()? - switches_before) / count;
    drop(store);
    fs::remove_dir_all(path)?;
    took.sort_unstable();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    Ok(format!(
        "{:>10.0} {:>8} {:>8} {cpu:>8.1} {switched:>9.2}",
        count / elapsed,
        p50.as_micros(),
        p99.as_micros()
    ))
}

async fn bucket(store: &dyn Metastore) -> Result<BucketId, Box<dyn Error>> {
    let row = Bucket {
        id: BucketId::generate(),
        name: BucketName::parse("photos")?,
        created_at: Timestamp(1),
        owner: "alice".into(),
        region: String::new(),
        settings: metastore::BucketSettings::default(),
    };
    let id = row.id;
    store.create_bucket(row).await?;
    Ok(id)
}

fn commit(bucket: BucketId, kind: Kind, key: &str) -> CommitObject {
    let (data, inline_body) = match kind {
        Kind::Chunk => {
            let chunk = ChunkRef {
                id: ChunkId::generate(),
                length_bytes: 1 << 20,
                crc64: Crc64(7),
                replicas: vec![NodeId::generate()],
            };
            let (scheme, chunks) = (Scheme::Replicated, vec![chunk]);
            (ObjectData::Chunks(ChunkLayout { scheme, chunks }), None)
        }
        Kind::Inline => {
            let body = InlineBody(vec![7; BODY_BYTES]);
            (ObjectData::Inline(BodyId::generate()), Some(body))
        }
    };
    let object = ObjectVersion {
        version: VersionId::Null,
        sequence: Sequence::generate(),
        modified_at: Timestamp::now(),
        size_bytes: 1,
        etag: "d41d8cd98f00b204e9800998ecf8427e".into(),
        checksum: None,
        headers: SystemHeaders::default(),
        user_metadata: vec![("padding".into(), "x".repeat(PADDING_BYTES))],
        owner: "alice".into(),
        data,
        order: metastore::VersionOrder::FIRST,
        attributes: metastore::ObjectAttributes::default(),
    };
    CommitObject {
        bucket,
        key: ObjectKey::parse(key.to_owned()).expect("a short key of plain letters"),
        object,
        inline_body,
        condition: WriteCondition::Always,
        replicas_wanted: 1,
    }
}

/// CPU time of the process, user's and system's.
fn cpu_ticks() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The program's name stands in brackets and may hold anything; user time is the 12th field
    // behind it.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    Ok(ticks.map(str::parse::<f64>).sum::<Result<f64, _>>()?)
}

/// How often threads of the process that still live have gone to sleep.
fn switches() -> Result<f64, Box<dyn Error>> {
    let mut sum = 0.0;
    for thread in fs::read_dir("/proc/self/task")? {
        let Ok(status) = fs::read_to_string(thread?.path().join("status")) else {
            continue; // It has ended meanwhile.
        };
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += line.ok_or("no switches in status")?.trim().parse::<f64>()?;
    }
    Ok(sum)
}
