//! One cell of the table: a size and a number of clients, measured for all that is compared, in turns.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::Failure;
use crate::load::{self, PutLoad};
use crate::sample::{Sample, Span};
use crate::stores::{Layout, Stores};

/// What the columns are. CPU time is per request; ratios are of requests per second, to the first
/// line of the cell.
pub(crate) const HEADING: &str =
    "   KiB clients what layout    stores     ops/s    MiB/s   p50 us   p99 us   cpu us   ratio";

/// What is compared within a cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    /// How chunks lie on the disk.
    pub(crate) layout: Layout,
    /// How many stores share it.
    pub(crate) stores: u8,
}

/// How long and how much.
pub(crate) struct Limits {
    /// Length of one measurement.
    pub(crate) span: Duration,
    /// How many are added up.
    pub(crate) rounds: u32,
    /// What one measurement of puts may write.
    pub(crate) written_max_bytes: u64,
    /// What is kept while old chunks are deleted; without it nothing is deleted.
    pub(crate) turnover_bytes: Option<u64>,
    /// Whether to read as well.
    pub(crate) gets: bool,
}

/// One size and number of clients.
pub(crate) struct Cell {
    /// Size of each chunk.
    pub(crate) chunk_bytes: u64,
    /// Clients at a time.
    pub(crate) clients: usize,
}

/// What one variant did in a cell.
#[derive(Default)]
struct Outcome {
    puts: Sample,
    gets: Option<Sample>,
}

impl Cell {
    /// Measures every variant in every round and gives the table's lines.
    ///
    /// # Errors
    /// The first error of any store.
    pub(crate) async fn measure(
        &self,
        dir: &Path,
        variants: &[Variant],
        limits: &Limits,
        print: impl Fn(&str),
    ) -> Result<(), Failure> {
        let data = Bytes::from(noise(usize::try_from(self.chunk_bytes)?));
        let mut outcomes: Vec<Outcome> = variants.iter().map(|_| Outcome::default()).collect();
        for _ in 0..limits.rounds {
            for (variant, outcome) in variants.iter().zip(&mut outcomes) {
                self.one_round(dir, *variant, &data, limits, outcome)
                    .await?;
            }
        }
        let puts = outcomes.iter_mut().map(|outcome| Some(&mut outcome.puts));
        self.print("put", variants, puts, &print);
        let gets = outcomes.iter_mut().map(|outcome| outcome.gets.as_mut());
        self.print("get", variants, gets, &print);
        Ok(())
    }

    async fn one_round(
        &self,
        dir: &Path,
        variant: Variant,
        data: &Bytes,
        limits: &Limits,
        outcome: &mut Outcome,
    ) -> Result<(), Failure> {
        let stores = Arc::new(Stores::open(dir, variant.layout, variant.stores)?);
        let load = PutLoad {
            clients: self.clients,
            data: data.clone(),
            span: limits.span,
            written_max_bytes: limits.written_max_bytes,
            turnover_bytes: limits.turnover_bytes,
        };
        let (puts, placed) = load::puts(&stores, &load).await?;
        outcome.puts.add(puts);
        // Otherwise dropped here: its handles would keep the stores open.
        let placed = limits.gets.then_some(placed);
        if let Some(placed) = placed {
            let span = Span::after_warm_up(limits.span);
            let gets = load::gets(placed, self.clients, data.len(), span).await?;
            outcome.gets.get_or_insert_default().add(gets);
        }
        let stores = Arc::into_inner(stores).expect("the clients have ended");
        stores.remove().await
    }

    fn print<'a>(
        &self,
        what: &str,
        variants: &[Variant],
        samples: impl Iterator<Item = Option<&'a mut Sample>>,
        print: impl Fn(&str),
    ) {
        let mut first_per_s = None;
        for (variant, sample) in variants.iter().zip(samples) {
            let Some(sample) = sample else { continue };
            let reference_per_s = *first_per_s.get_or_insert(sample.rate_per_s());
            print(&format!(
                "{:>6} {:>7} {what:4} {:9} {:>6} {} {:>7.2}",
                self.chunk_bytes >> 10,
                self.clients,
                variant.layout,
                variant.stores,
                sample.columns(),
                sample.rate_per_s() / reference_per_s,
            ));
        }
    }
}

/// Bytes that no disk can compress: splitmix64's sequence from 0.
fn noise(length: usize) -> Vec<u8> {
    let words = (1..=length.div_ceil(8) as u64).map(|word| {
        let mut mixed = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    });
    let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    bytes.truncate(length);
    bytes
}
