//! Which of an upload's parts make up the object. Decided the same way in every implementation.

use std::collections::BTreeMap;

use crate::{MetaError, MetaResult, Part, PartEntry, PartNumber, Sequence};

/// An upload's parts, sorted out.
#[derive(Debug)]
pub(crate) struct Choice {
    /// The parts of the object.
    pub(crate) chosen: Vec<PartEntry>,
    /// Parts that were uploaded and not chosen.
    pub(crate) left_out: Vec<Part>,
}

impl Choice {
    /// Chooses the parts `wanted` out of all that were uploaded.
    ///
    /// # Errors
    /// `InvalidPart` for one that is not there, or is not of the wanted revision any longer.
    pub(crate) fn of(
        wanted: &[(PartNumber, Sequence)],
        uploaded: impl IntoIterator<Item = Part>,
    ) -> MetaResult<Self> {
        let mut uploaded: BTreeMap<_, _> = uploaded
            .into_iter()
            .map(|part| (part.number, part))
            .collect();
        let mut chosen = Vec::with_capacity(wanted.len());
        for &(number, sequence) in wanted {
            match uploaded.remove(&number) {
                Some(part) if part.sequence == sequence => {
                    chosen.push(PartEntry {
                        number,
                        size_bytes: part.size_bytes,
                    });
                }
                _ => return Err(MetaError::InvalidPart(number)),
            }
        }
        Ok(Self {
            chosen,
            left_out: uploaded.into_values().collect(),
        })
    }
}
