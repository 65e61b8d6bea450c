//! `gateway admin rebuild-metadata` and `restore-metadata`, from their settings to their summaries.

use std::sync::Arc;

use bytesize::ByteSize;
use metastore::{Metastore, NodeRow, RestoredFiles, RocksMetastore, Timestamp};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::error::RecoveryError;
use super::find::{ChunkKind, find};
use super::found::born_at;
use super::latest_run::latest_run;
use super::rebuild::Rebuild;
use super::report::Report;
use super::restore::{FoundRun, Restored, runs};
use super::roll_call::{self, ChunkServers};
use super::target::Target;
use crate::config::{RebuildConfig, RecoveryConfig, RestoreConfig};
use crate::standalone;

/// What needs an operator's eye, beside the new database.
const REPORT_FILE: &str = "rebuild-report.txt";

/// Printed after a rebuild: what chunks cannot restore.
const LOST_FOR_GOOD: &str = "Not here, since only the lost metadata had them: objects of up to \
    --inline-max-size (8 KiB) where there was one replica, empty objects, delete markers, buckets without \
    objects, settings of buckets, users";

/// Rebuilds metadata from owner hints, and says what came of it.
///
/// # Errors
/// Whatever keeps it from being done; then there is no database, and it can be begun again.
#[expect(
    clippy::print_stdout,
    reason = "the summary is for the person at the terminal"
)]
pub async fn rebuild_metadata(config: RebuildConfig) -> Result<(), RecoveryError> {
    let target = Target::claim(&config.recovery)?;
    let servers = chunk_servers(&config.recovery).await?;
    let found = find(&servers.transport, &servers.ids(), ChunkKind::Objects).await?;
    if found.chunks == 0 {
        return Err(RecoveryError::Nothing(
            "the chunk servers hold no chunk of any object; are they the right ones?".into(),
        ));
    }
    let metastore = Arc::new(RocksMetastore::open(&target.being_made())?);
    write_nodes(metastore.as_ref(), &servers).await?;
    let report = Report::default();
    report.nodes.add(servers.nodes.len() as u64);
    report.chunks.add(found.chunks);
    report.replicas.add(found.replicas);
    report.unreadable.add(found.unreadable);
    report.differing.add(found.differing);
    for node in &found.incomplete_nodes {
        report.note(format!(
            "chunk server {node}: it cannot see all of its disks"
        ));
    }
    let rebuild = Rebuild {
        metastore,
        transport: Arc::clone(&servers.transport),
        replicas: config.replicas(),
        owner: config.owner,
        assemble_uploads: !config.leave_uploads,
        now: Timestamp::now(),
        report,
    };
    rebuild.run(found.bodies).await?;
    let report = rebuild.report;
    // Closes the database, which is durable then.
    drop(rebuild.metastore);
    let notes = report.notes();
    let lines = notes.iter().map(|note| format!("{note}\n"));
    let text = format!("{LOST_FOR_GOOD}\n{}", lines.collect::<String>());
    let path = target.write(REPORT_FILE, &text)?;
    target.finish()?;
    println!("{report}");
    println!("{LOST_FOR_GOOD}");
    println!("{} remarks are in {}", notes.len(), path.display());
    Ok(())
}

/// Restores metadata from the backups in the cluster, and says up to when.
///
/// # Errors
/// Whatever keeps it from being done; then there is no database, and it can be begun again.
#[expect(
    clippy::print_stdout,
    reason = "the summary is for the person at the terminal"
)]
pub async fn restore_metadata(config: RestoreConfig) -> Result<(), RecoveryError> {
    let target = Target::claim(&config.recovery)?;
    let servers = chunk_servers(&config.recovery).await?;
    let found = find(&servers.transport, &servers.ids(), ChunkKind::Metadata).await?;
    let mut runs = runs(found.bodies);
    runs.retain(|_, run| run.is_restorable());
    println!(
        "The chunk servers hold backups of these runs of gateways, in the order in which they began:"
    );
    for (id, run) in &runs {
        println!("  {id}  {}", line_of(*id, run));
    }
    if config.list {
        return Ok(());
    }
    let chosen = match config.run {
        Some(id) => Some(id),
        None => latest_run(&runs)?,
    };
    let Some((id, run)) = chosen.and_then(|id| runs.remove_entry(&id)) else {
        return Err(RecoveryError::Nothing(
            "the chunk servers hold no such backup; start those that are missing, or use rebuild-metadata"
                .into(),
        ));
    };
    let restored = run
        .restore(&servers.transport, || {
            target.clear()?;
            Ok(RestoredFiles::begin(&target.being_made())?)
        })
        .await?;
    let metastore = RocksMetastore::open(&target.being_made())?;
    write_nodes(&metastore, &servers).await?;
    drop(metastore);
    target.finish()?;
    println!("\nRestored the run {id}:\n{}", summary(&restored));
    Ok(())
}

/// What tells a run from others.
fn line_of(id: Uuid, run: &FoundRun) -> String {
    let (from, until) = (shown(born_at(id)), shown(run.until()));
    let write = run
        .last_write()
        .map_or("none".into(), |last| last.to_string());
    let database = run.database().map_or("unknown".into(), |id| id.to_string());
    let pieces = run.log_pieces();
    format!(
        "until {until}, begun {from}, {pieces} pieces of log, last write {write}, database {database}"
    )
}

fn summary(restored: &Restored) -> String {
    let mut summary = format!(
        "  the checkpoint {} of {}: {} files, {}\n  the log behind it: {} pieces, {}\n  \
         what was acknowledged after {} may be missing",
        restored.checkpoint,
        shown(restored.made_at),
        restored.files,
        ByteSize::b(restored.size_bytes),
        restored.log_pieces,
        ByteSize::b(restored.log_bytes),
        shown(restored.until),
    );
    if restored.unused_pieces > 0 {
        summary.push_str(&format!(
            "\n  {} later pieces of the log could not be used: one before them is missing",
            restored.unused_pieces
        ));
    }
    summary
}

fn shown(moment: Timestamp) -> String {
    let nanos = i128::from(moment.0) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{} ms since 1970", moment.0))
}

/// The chunk servers or embedded stores.
async fn chunk_servers(config: &RecoveryConfig) -> Result<ChunkServers, RecoveryError> {
    match (&config.data, &config.cluster_secret) {
        (Some(data), _) => {
            let (transport, nodes) = standalone::open_nodes(data)?;
            Ok(ChunkServers::embedded(transport, nodes))
        }
        (None, Some(secret)) => roll_call::call(config, secret.clone()).await,
        (None, None) => Err(RecoveryError::Nothing(
            "the cluster secret is needed to speak with the chunk servers".into(),
        )),
    }
}

async fn write_nodes(
    metastore: &dyn Metastore,
    servers: &ChunkServers,
) -> Result<(), RecoveryError> {
    for node in &servers.nodes {
        let row = NodeRow {
            id: node.node_id,
            incarnation: node.incarnation,
            address: node.address.clone(),
            zone: node.zone.clone(),
            capacity_bytes: node.state.capacity_bytes,
            first_seen_at: Timestamp::now(),
        };
        metastore.put_node(row).await?;
    }
    Ok(())
}
