//! How long a store with many small chunks takes to start: after a clean stop, after kill -9, and
//! with a lost index. `cargo run --release -p chunkd --example starts -- DIR COUNT`; DIR must be
//! missing or empty, and is left as it is at the end.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chunkd::{ChunkStore, StoreOptions};
use chunkproto::{ChunkId, ChunkPut, OwnerHint};
use futures::stream::{self, StreamExt as _};
use uuid::Uuid;

const CHUNK_BYTES: usize = 100;
const WRITERS: usize = 512;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [dir, count, rest @ ..] = arguments.as_slice() else {
        return Err("usage: starts DIR COUNT".into());
    };
    let count: usize = count.parse()?;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Runtime::new()?;
    match rest.first().map(String::as_str) {
        None => measure(dir, count),
        Some("fill") => runtime.block_on(fill(Path::new(dir), count)),
        Some(stop) => runtime.block_on(start(Path::new(dir), stop == "clean")),
    }
}

/// Each step in a process of its own, so that its memory is its own too.
fn measure(dir: &str, count: usize) -> Outcome<()> {
    let began = Instant::now();
    run(dir, count, "fill")?;
    let took = began.elapsed();
    let rate = count as f64 / took.as_secs_f64();
    say(&format!(
        "filled: {count} chunks in {took:.1?}, {rate:.0} a second; then kill -9"
    ))?;
    say(&format!("after kill -9: {}", run(dir, count, "clean")?))?;
    say(&format!(
        "after a clean stop: {}",
        run(dir, count, "killed")?
    ))?;
    fs::remove_dir_all(Path::new(dir).join("index"))?;
    say(&format!("index lost: {}", run(dir, count, "clean")?))?;
    say(&format!(
        "after a clean stop: {}",
        run(dir, count, "clean")?
    ))?;
    Ok(())
}

/// Runs a step until it has said its line, then kills it, or waits if it stops by itself.
fn run(dir: &str, count: usize, step: &str) -> Outcome<String> {
    let mut child = Command::new(env::current_exe()?)
        .args([dir, &count.to_string(), step])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or("no output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    if step != "clean" {
        child.kill()?;
    }
    child.wait()?;
    Ok(line.trim_end().to_owned())
}

async fn fill(dir: &Path, count: usize) -> Outcome<()> {
    let store = ChunkStore::open(StoreOptions::new(dir))?;
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        let share = count / WRITERS + usize::from(writer < count % WRITERS);
        tokio::spawn(async move {
            for _ in 0..share {
                put(&store).await?;
            }
            Outcome::Ok(())
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    say("filled")?;
    // Killed here, with the last changes in memory alone.
    std::future::pending().await
}

async fn put(store: &ChunkStore) -> Outcome<()> {
    let id = ChunkId::generate();
    let data = Bytes::from(id.as_bytes().repeat(CHUNK_BYTES.div_ceil(16))).slice(..CHUNK_BYTES);
    let owner = OwnerHint {
        bucket_id: Uuid::nil(),
        bucket: "bucket".into(),
        key: "key".into(),
        sequence: Uuid::nil(),
        part: None,
        index: 0,
        offset_bytes: 0,
        body_bytes: Some(CHUNK_BYTES as u64),
        details: Vec::new(),
    };
    let put = ChunkPut {
        id,
        length_bytes: CHUNK_BYTES as u64,
        owner,
    };
    let body = stream::once(async move { Ok(data) }).boxed();
    store.put(put, body).await?;
    Ok(())
}

/// Opens the store, says how that went, and stops cleanly or waits to be killed.
async fn start(dir: &Path, clean: bool) -> Outcome<()> {
    let began = Instant::now();
    let store = ChunkStore::open(StoreOptions::new(dir))?;
    let took = began.elapsed();
    let chunks = store.state().chunk_count;
    if clean {
        store.close().await?;
    }
    say(&format!("{chunks} chunks in {took:.2?}, {}", memory()?))?;
    if !clean {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    Ok(())
}

/// The most memory that this process had.
fn memory() -> Outcome<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    Ok(line.unwrap_or_default().replace(char::is_whitespace, ""))
}

fn say(words: &str) -> Outcome<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{words}")?;
    Ok(stdout.flush()?)
}
