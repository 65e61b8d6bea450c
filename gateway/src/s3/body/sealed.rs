//! Reads of encrypted objects: the plain range is turned into whole sealed blocks, those are read
//! like any other bytes, and opened on their way to the client.

use std::sync::Arc;

use bytes::Bytes;
use chunkproto::ByteRange;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use http_body::Frame;
use http_body_util::StreamBody;
use metastore::{ChunkLayout, ObjectData, ObjectVersion, PartEntry, UploadId};
use s3s::dto::StreamingBlob;
use s3s::{Body, S3Result};

use super::store::{parts_in, unless_replaced};
use crate::chunks::{ChunkSlice, ReadError, SliceSource, slices_of};
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;
use crate::sealing::{BodyKey, DataKey, OpenRun, OpenRuns, SealedPart, open};

impl S3Gateway {
    /// Opens `range` of an object that is sealed under `key`; as
    /// [`open_body`](S3Gateway::open_body).
    pub(crate) async fn open_sealed(
        &self,
        object: &ObjectVersion,
        key: &DataKey,
        range: ByteRange,
    ) -> S3Result<Option<StreamingBlob>> {
        let runs = OpenRuns::default();
        let slices = match &object.data {
            ObjectData::Inline(body) => {
                let found = self.metastore.inline_body(*body).await;
                let Some(body) = unless_replaced(found)? else {
                    return Ok(None);
                };
                let part = SealedPart::covering(range, object.size_bytes);
                let at = |bytes: u64| {
                    usize::try_from(bytes)
                        .unwrap_or(usize::MAX)
                        .min(body.0.len())
                };
                let sealed = &body.0[at(part.sealed.start)..at(part.sealed.end)];
                let sealed = Ok::<_, ReadError>(Bytes::copy_from_slice(sealed));
                runs.push(OpenRun {
                    key: key.of_body(),
                    part,
                });
                return Ok(Some(plain_body(stream::iter([sealed]).boxed(), runs)));
            }
            ObjectData::Chunks(layout) => {
                let slices = sealed_slices(layout, key.of_body(), range, object.size_bytes, &runs);
                stream::iter(slices.into_iter().map(Ok)).boxed()
            }
            ObjectData::Parts(upload) => {
                match unless_replaced(self.metastore.part_set(*upload).await)? {
                    Some(set) => {
                        let parts = parts_in(&set.parts, range);
                        self.sealed_slices_of_parts(*upload, parts, key, &runs)
                    }
                    None => return Ok(None),
                }
            }
        };
        let sealed = self.reader.open(slices, range.length_bytes()).await;
        let sealed = sealed.map_err(errors::from_read)?;
        Ok(Some(plain_body(sealed.boxed(), runs)))
    }

    /// The slices of parts, looked up part by part as they are needed, each announced in `runs`.
    fn sealed_slices_of_parts(
        &self,
        upload: UploadId,
        parts: Vec<(PartEntry, ByteRange)>,
        key: &DataKey,
        runs: &OpenRuns,
    ) -> SliceSource {
        let (metastore, key, runs) = (Arc::clone(&self.metastore), key.clone(), runs.clone());
        stream::iter(parts)
            .then(move |(entry, range)| {
                let (metastore, key, runs) = (Arc::clone(&metastore), key.clone(), runs.clone());
                async move {
                    let part = metastore.part(upload, entry.number).await?;
                    let key = key.of_part(part.number.get(), part.sequence.0);
                    let slices = sealed_slices(&part.layout, key, range, part.size_bytes, &runs);
                    Ok::<_, ReadError>(stream::iter(slices.into_iter().map(Ok)))
                }
            })
            .try_flatten()
            .boxed()
    }
}

/// The slices that hold `range` of one sealed body; announces them in `runs`.
fn sealed_slices(
    layout: &ChunkLayout,
    key: BodyKey,
    range: ByteRange,
    body_bytes: u64,
    runs: &OpenRuns,
) -> Vec<ChunkSlice> {
    let part = SealedPart::covering(range, body_bytes);
    runs.push(OpenRun { key, part });
    slices_of(layout, part.sealed)
}

fn plain_body(
    sealed: BoxStream<'static, Result<Bytes, ReadError>>,
    runs: OpenRuns,
) -> StreamingBlob {
    let plain = open(sealed, runs)
        .map_ok(Frame::data)
        .map_err(errors::from_open);
    StreamingBlob::from(Body::http_body_unsync(StreamBody::new(plain)))
}
