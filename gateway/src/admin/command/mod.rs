//! `gateway admin`: asks a running gateway and shows what it says. `link` reaches it, `show` puts
//! answers into words.

mod bucket;
mod link;
mod master_key;
mod show;
mod user;

use std::io::Write as _;

use serde_json::Value;
use tokio::time::sleep;

pub use self::link::AdminError;
use self::link::Link;
use super::findings::bytes;
use super::job_orders::{JobOrder, RateOrder};
use super::metadata_orders::{SaveOrder, SavedDatabase};
use super::node_holds::NodeHolds;
use super::orphan_orders::AcceptedOrphans;
use super::status::{NodeReport, Status};
use crate::config::{
    AdminCommand, DrainCommand, JobCommand, NodeCommand, Rate, RateCommand, SaveMetadataCommand,
};
use crate::recovery::{rebuild_metadata, restore_metadata};

/// Does what the command says, and prints the answer.
///
/// # Errors
/// What keeps it from being done, in a sentence for the person who asked.
pub async fn run(command: AdminCommand) -> Result<(), AdminError> {
    match command {
        AdminCommand::Status(status) => {
            let link = Link::new(&status.link)?;
            if status.json {
                return say(&link.text("/status").await?);
            }
            say(&show::status(&link.status().await?))
        }
        AdminCommand::Node(command) => node(command).await,
        AdminCommand::Job(command) => job(command).await,
        AdminCommand::RestoreMetadata(config) => Ok(restore_metadata(config).await?),
        AdminCommand::RebuildMetadata(config) => Ok(rebuild_metadata(config).await?),
        AdminCommand::MasterKey(command) => master_key::run(command).await,
        AdminCommand::SaveMetadata(save) => save_metadata(save).await,
        AdminCommand::Bucket(command) => bucket::run(command).await,
        AdminCommand::User(command) => user::run(command).await,
    }
}

async fn node(command: NodeCommand) -> Result<(), AdminError> {
    match command {
        NodeCommand::List(list) => {
            let status = Link::new(&list.link)?.status().await?;
            say(&show::nodes(&status))
        }
        NodeCommand::Drain(drain) => self::drain(drain).await,
        NodeCommand::Undrain(one) => {
            let link = Link::new(&one.link)?;
            let node = find(&link.status().await?, &one.node)?.id;
            link.order(&format!("nodes/{node}/undrain"), &()).await?;
            say(&format!("{node} takes chunks again.\n"))
        }
        NodeCommand::Remove(one) => {
            let link = Link::new(&one.link)?;
            let node = find(&link.status().await?, &one.node)?.id;
            let _: Value = link
                .order_of_hours(&format!("nodes/{node}/remove"), &())
                .await?;
            say(&format!(
                "{node} was removed. Stop its chunkd; its disks may be wiped.\n"
            ))
        }
        NodeCommand::AcceptOrphans(one) => {
            let link = Link::new(&one.link)?;
            let node = find(&link.status().await?, &one.node)?.id;
            let path = format!("nodes/{node}/accept-orphans");
            let AcceptedOrphans { orphans } = link.order_of_hours(&path, &()).await?;
            say(&format!(
                "{orphans} chunks on {node} go into quarantine now, and are deleted when that is over.\n"
            ))
        }
    }
}

async fn drain(drain: DrainCommand) -> Result<(), AdminError> {
    let link = Link::new(&drain.node.link)?;
    let node = find(&link.status().await?, &drain.node.node)?.id;
    let _: Value = link
        .order_of_hours(&format!("nodes/{node}/drain"), &())
        .await?;
    say(&format!("{node} is draining.\n"))?;
    if !drain.wait {
        return say(
            "Look with: gateway admin status. When it is empty: gateway admin node remove.\n",
        );
    }
    let mut last = String::new();
    loop {
        let holds: NodeHolds = link.ask_for_hours(&format!("nodes/{node}")).await?;
        let status = link.status().await?;
        let reported = status.nodes.iter().find(|known| known.id == node);
        if reported.is_none_or(|known| known.phase != "draining") {
            return Err(AdminError::CalledOff(node));
        }
        let is_down = reported.is_some_and(|known| known.state == "down");
        if holds.placed_chunks == 0 && (holds.garbage_chunks == 0 || is_down) {
            if holds.orphans > 0 {
                say(&format!(
                    "{} copies in quarantine, which nobody needs, will go with it.\n",
                    holds.orphans
                ))?;
            }
            return say(&format!(
                "{node} is empty. Let it go with: gateway admin node remove {node}\n"
            ));
        }
        let line = show::drain_progress(&holds, &status.jobs);
        if line != last {
            say(&line)?;
            last = line;
        }
        sleep(drain.look_period()).await;
    }
}

async fn save_metadata(save: SaveMetadataCommand) -> Result<(), AdminError> {
    let to = std::path::absolute(&save.to).map_err(AdminError::Output)?;
    let (link, order) = (Link::new(&save.link)?, SaveOrder { to: to.clone() });
    let saved: SavedDatabase = link.order_of_hours("metadata/save", &order).await?;
    say(&format!(
        "The database as it was a moment ago is in {} ({}).\nTo go back to it: stop the gateway, move \
         its directory `metadata` away, copy this one to its place (cp -a), start the gateway.\n",
        to.display(),
        bytes(saved.length_bytes)
    ))
}

async fn job(command: JobCommand) -> Result<(), AdminError> {
    let pause = |paused: bool| JobOrder {
        paused: Some(paused),
        rate: None,
    };
    let (job, order) = match command {
        JobCommand::List(list) => {
            let status = Link::new(&list.link)?.status().await?;
            return say(&show::jobs(&status.jobs));
        }
        JobCommand::Pause(job) => (job, pause(true)),
        JobCommand::Resume(job) => (job, pause(false)),
        JobCommand::Rate(RateCommand { job, rate }) => {
            let rate = Some(match rate {
                Rate::Default => RateOrder::Default,
                Rate::Unlimited => RateOrder::Unlimited,
                Rate::BytesPerS(rate) => RateOrder::BytesPerS(rate),
            });
            (job, JobOrder { paused: None, rate })
        }
    };
    let link = Link::new(&job.link)?;
    link.order(&format!("jobs/{}", job.job), &order).await?;
    say("Done; it takes effect within seconds.\n")
}

/// The node that `wanted` names: by id, beginning of an id, or address.
fn find<'s>(status: &'s Status, wanted: &str) -> Result<&'s NodeReport, AdminError> {
    let is_wanted = |node: &&NodeReport| {
        let address = node.address.trim_start_matches("http://");
        (!wanted.is_empty() && node.id.to_string().starts_with(wanted))
            || [address, &*node.address].contains(&wanted)
    };
    let found: Vec<_> = status.nodes.iter().filter(is_wanted).collect();
    match found[..] {
        [node] => Ok(node),
        [] => Err(AdminError::NoNode(wanted.to_owned())),
        _ => Err(AdminError::ManyNodes(wanted.to_owned(), found.len())),
    }
}

fn say(text: &str) -> Result<(), AdminError> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(AdminError::Output)
}
