//! One round: clients and faults, then calm, then the verdict.

use std::sync::Arc;
use std::time::Duration;

use compat_tests::sdk;
use tokio::sync::watch;

use crate::history::{History, Written};
use crate::objects::key_name;
use crate::plan::{NODES, plan};
use crate::ring::Ring;
use crate::{clients, faults, verdict};

/// What one round does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) seed: u64,
    /// How long faults come.
    pub(crate) storm: Duration,
}

impl Round {
    /// Runs it on a cluster whose keys hold `held`; what they hold after it.
    ///
    /// # Errors
    /// A report of everything that went wrong.
    pub(crate) async fn run(
        self,
        ring: &mut Ring,
        held: Vec<Option<Written>>,
    ) -> Result<Vec<Option<Written>>, String> {
        let history = Arc::new(History::new(held));
        let mut log = Vec::new();
        let judged = self.storm_and_calm(ring, &history, &mut log).await;
        let lies = history.lies();
        let (Ok(held), true) = (&judged, lies.is_empty()) else {
            let mut report = format!("{}\n\nthe faults:\n{}\n", history.summary(), log.join("\n"));
            if let Err(why) = judged {
                report.push_str(&format!("\n{why}\n"));
            }
            for lie in lies {
                let name = lie.key.map_or_else(String::new, key_name);
                report.push_str(&format!("\n{name}: {}\n", lie.what));
                let of_key = lie.key.map(|key| history.of_key(key));
                report.push_str(&of_key.unwrap_or_default());
            }
            return Err(report);
        };
        Ok(held.clone())
    }

    async fn storm_and_calm(
        self,
        ring: &mut Ring,
        history: &Arc<History>,
        log: &mut Vec<String>,
    ) -> Result<Vec<Option<Written>>, String> {
        let (stop, stopped) = watch::channel(false);
        let clients = clients::start(ring.cluster.endpoint(), self.seed, history, &stopped);
        let faults = plan(self.seed, self.storm, ring.means());
        faults::carry_out(&faults, ring, history, log).await;
        stop.send_replace(true);
        clients.join_all().await;
        println!("  {} faults; {}", faults.len(), history.summary());
        verdict::expect_enough(history, self.storm)?;

        // A last kill: what is not on the disks now, and what was under way, is gone.
        ring.cluster.gateway().kill().await;
        history.settle();
        ring.cluster.gateway().start_again().await;
        ring.cluster.wait_for_live(NODES).await;
        let client = sdk(ring.cluster.endpoint());
        verdict::read_all(&client, history).await;
        verdict::abort_uploads(&client).await;
        let held = verdict::read_all(&client, history).await;
        if !history.lies().is_empty() {
            return Err(
                "clients saw what cannot be; whether the cluster heals was not looked at".into(),
            );
        }
        let took = verdict::wait_until_whole(ring, &held).await?;
        verdict::read_all_copies(ring).await?;
        verdict::read_all(&client, history).await;
        println!("  whole after {:.1} s of calm", took.as_secs_f64());
        Ok(held)
    }
}
