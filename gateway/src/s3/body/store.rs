//! The bytes of objects, in and out: short bodies stand in the metadata where that is as safe as the
//! chunks would be, all others in chunks.

use std::sync::Arc;

use bytes::Bytes;
use chunkproto::{ByteRange, Crc64};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use metastore::{
    BodyId, Bucket, InlineBody, MetaError, ObjectData, ObjectKey, ObjectVersion, PartEntry,
    Sequence, UploadId,
};
use s3s::dto::StreamingBlob;
use s3s::{Body, S3Result, s3_error};

use super::sealed::SealedRead;
use crate::chunks::{
    BodyKind, BodyOwner, BodyStream, ReadError, SliceSource, WriteError, slices_of,
};
use crate::object_details::ObjectDetails;
use crate::s3::encryption::keys::Sealing;
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;
use crate::sealing::{BodyKey, DataKey, PlainCrc, seal, sealed_bytes};

/// A body on its way in.
pub struct IncomingBody<'a> {
    body: BodyStream,
    body_bytes: u64,
    key: Option<&'a Sealing>,
}

impl<'a> IncomingBody<'a> {
    /// The plaintext `body` of `body_bytes`, to be sealed if there is a key.
    pub fn new(body: BodyStream, body_bytes: u64, key: Option<&'a Sealing>) -> Self {
        Self {
            body,
            body_bytes,
            key,
        }
    }

    /// The bytes to store, their number, and where the plaintext's checksum will stand, if they are
    /// sealed.
    pub fn stored(
        self,
        body_key: impl FnOnce(&DataKey) -> BodyKey,
    ) -> (BodyStream, u64, Option<PlainCrc>) {
        match self.key {
            None => (self.body, self.body_bytes, None),
            Some(sealing) => {
                let key = body_key(&sealing.key);
                let (body, crc) = seal(self.body, key, self.body_bytes);
                (body, sealed_bytes(self.body_bytes), Some(crc))
            }
        }
    }
}

/// A body that is durable, or comes along with the commit of its row.
pub struct StoredBody {
    /// What the row says of it.
    pub data: ObjectData,
    /// The bytes for the commit, where the metadata keeps them.
    pub inline_body: Option<InlineBody>,
    /// Checksum of the plaintext.
    pub crc64: Crc64,
}

impl S3Gateway {
    /// Reads a body to its end and stores it for revision `sequence` of a key. The chunks say
    /// `details` of their object.
    ///
    /// # Errors
    /// As [`BodyWriter::write`](crate::chunks::BodyWriter::write).
    pub(crate) async fn store_body(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        (sequence, details): (Sequence, ObjectDetails<'_>),
        incoming: IncomingBody<'_>,
    ) -> S3Result<StoredBody> {
        let inline = (1..=self.settings.inline_max_bytes).contains(&incoming.body_bytes);
        let (body, stored_bytes, plain_crc) = incoming.stored(DataKey::of_body);
        let of_plain = |stored_crc| plain_crc.map_or(Some(stored_crc), |crc| crc.get());
        let unfinished = || s3_error!(IncompleteBody);
        if inline {
            let gathered = gather(stored_bytes, body).await;
            let mut stored = stored_inline(gathered.map_err(errors::from_write)?);
            stored.crc64 = of_plain(stored.crc64).ok_or_else(unfinished)?;
            return Ok(stored);
        }
        let owner = BodyOwner {
            kind: BodyKind::Object,
            bucket_id: bucket.id.0,
            bucket: bucket.name.as_str().to_owned(),
            key: key.as_str().to_owned(),
            sequence: sequence.0,
            part: None,
            details: details.encode(),
        };
        let written = self
            .writer
            .write(owner, stored_bytes, body)
            .await
            .map_err(errors::from_write)?;
        Ok(StoredBody {
            data: ObjectData::Chunks(written.layout),
            inline_body: None,
            crc64: of_plain(written.crc64).ok_or_else(unfinished)?,
        })
    }

    /// Opens `range` of an object for reading, with its `key` if it is encrypted. `None` if the object
    /// was replaced since its row was read; look it up again. Chunks outlive that by their grace; what
    /// stands in the metadata goes at once.
    pub(crate) async fn open_body(
        &self,
        object: &ObjectVersion,
        key: Option<&DataKey>,
        range: ByteRange,
    ) -> S3Result<Option<StreamingBlob>> {
        let sealed = key.map(SealedRead::new);
        let slices = match &object.data {
            ObjectData::Inline(body) => {
                let found = unless_replaced(self.metastore.inline_body(*body).await)?;
                return Ok(found.map(|body| open_inline(body, range, object.size_bytes, sealed)));
            }
            ObjectData::Chunks(layout) => {
                let range = match &sealed {
                    Some(read) => read.stored_range(read.key.of_body(), range, object.size_bytes),
                    None => range,
                };
                stream::iter(slices_of(layout, range).into_iter().map(Ok)).boxed()
            }
            ObjectData::Parts(upload) => {
                match unless_replaced(self.metastore.part_set(*upload).await)? {
                    Some(set) => {
                        let parts = parts_in(&set.parts, range);
                        self.slices_of_parts(*upload, parts, sealed.clone())
                    }
                    None => return Ok(None),
                }
            }
        };
        let stored = self.reader.open(slices, range.length_bytes()).await;
        let stored = stored.map_err(errors::from_read)?;
        Ok(Some(match sealed {
            Some(read) => read.open(stored.boxed()),
            None => {
                let body = stored.map_ok(Frame::data).map_err(errors::from_read);
                StreamingBlob::from(Body::http_body_unsync(StreamBody::new(body)))
            }
        }))
    }

    /// The slices of parts, looked up part by part as they are needed.
    fn slices_of_parts(
        &self,
        upload: UploadId,
        parts: Vec<(PartEntry, ByteRange)>,
        sealed: Option<SealedRead>,
    ) -> SliceSource {
        let metastore = Arc::clone(&self.metastore);
        stream::iter(parts)
            .then(move |(entry, range)| {
                let (metastore, sealed) = (Arc::clone(&metastore), sealed.clone());
                async move {
                    let part = metastore.part(upload, entry.number).await?;
                    let range = match &sealed {
                        Some(read) => {
                            let key = read.key.of_part(part.number.get(), part.sequence.0);
                            read.stored_range(key, range, part.size_bytes)
                        }
                        None => range,
                    };
                    let slices = slices_of(&part.layout, range).into_iter();
                    Ok::<_, ReadError>(stream::iter(slices.map(Ok)))
                }
            })
            .try_flatten()
            .boxed()
    }
}

/// The range of an object that the metadata keeps.
fn open_inline(
    body: InlineBody,
    range: ByteRange,
    body_bytes: u64,
    sealed: Option<SealedRead>,
) -> StreamingBlob {
    match sealed {
        Some(read) => {
            let stored = read.stored_range(read.key.of_body(), range, body_bytes);
            read.open(stream::iter([Ok(cut(body, stored))]).boxed())
        }
        None => StreamingBlob::from_bytes(cut(body, range)),
    }
}

/// All bytes of a short body.
async fn gather(body_bytes: u64, mut body: BodyStream) -> Result<Vec<u8>, WriteError> {
    let wrong_length = WriteError::Length {
        declared_bytes: body_bytes,
    };
    let mut bytes = Vec::with_capacity(usize::try_from(body_bytes).unwrap_or_default());
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(WriteError::Body)?;
        if (bytes.len() + piece.len()) as u64 > body_bytes {
            return Err(wrong_length);
        }
        bytes.extend_from_slice(&piece);
    }
    if bytes.len() as u64 == body_bytes {
        Ok(bytes)
    } else {
        Err(wrong_length)
    }
}

fn stored_inline(bytes: Vec<u8>) -> StoredBody {
    StoredBody {
        data: ObjectData::Inline(BodyId::generate()),
        crc64: Crc64::of(&bytes),
        inline_body: Some(InlineBody(bytes)),
    }
}

/// Maps "no such body or upload" to `None`: the object was replaced.
pub(crate) fn unless_replaced<T>(found: Result<T, MetaError>) -> S3Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(MetaError::NoSuchBody(_) | MetaError::NoSuchUpload(_)) => Ok(None),
        Err(error) => Err(errors::from_metadata(error)),
    }
}

fn cut(body: InlineBody, range: ByteRange) -> Bytes {
    let body = Bytes::from(body.0);
    let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
    body.slice(bound(range.start)..bound(range.end))
}

/// The parts that `range` of the object touches, each with the touched range inside the part.
fn parts_in(parts: &[PartEntry], range: ByteRange) -> Vec<(PartEntry, ByteRange)> {
    let mut touched = Vec::new();
    let mut part_start = 0u64;
    for entry in parts {
        let part_end = part_start + entry.size_bytes;
        let (start, end) = (range.start.max(part_start), range.end.min(part_end));
        if start < end {
            let inside = ByteRange {
                start: start - part_start,
                end: end - part_start,
            };
            touched.push((*entry, inside));
        }
        part_start = part_end;
    }
    touched
}

#[cfg(test)]
mod tests {
    use metastore::PartNumber;

    use super::*;

    fn body(pieces: &'static [&'static str]) -> BodyStream {
        stream::iter(
            pieces
                .iter()
                .map(|piece| Ok(Bytes::from_static(piece.as_bytes()))),
        )
        .boxed()
    }

    #[tokio::test]
    async fn a_short_body_is_taken_only_at_its_declared_length() {
        assert_eq!(gather(4, body(&["ab", "cd"])).await.unwrap(), b"abcd");
        assert!(gather(5, body(&["ab", "cd"])).await.is_err());
        assert!(gather(3, body(&["ab", "cd"])).await.is_err());
    }

    #[test]
    fn a_range_touches_only_the_parts_it_covers() {
        let entry = |number, size_bytes| PartEntry {
            number: PartNumber::parse(number).unwrap(),
            size_bytes,
        };
        let parts = [entry(1, 5), entry(2, 5), entry(3, 5)];
        let touched: Vec<_> = parts_in(&parts, ByteRange { start: 4, end: 10 })
            .into_iter()
            .map(|(part, range)| (part.number.get(), range.start, range.end))
            .collect();
        assert_eq!(touched, [(1, 4, 5), (2, 0, 5)]);
    }
}
