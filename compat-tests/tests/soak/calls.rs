//! Single S3 calls by the Rust SDK, and what can be known after each.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use crate::history::{History, Outcome};
use crate::objects::{BUCKET, key_name, key_number};

/// A client does not wait longer for an answer.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a PUT asks of the key.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    None,
    /// That it holds nothing.
    Absent,
    /// That it holds the object with this ETag.
    Etag(String),
}

/// Why a call has no good answer.
#[derive(Debug)]
enum Failure {
    /// S3's answer: the status and the code.
    Answer(u16, String),
    /// It was not sent.
    NotSent,
    /// It was sent, or may have been.
    NoAnswer(String),
}

impl Failure {
    /// What is known of a change then.
    fn of_change(self) -> Outcome {
        match self {
            Self::Answer(412, _) => Outcome::Refused,
            // Only an internal error leaves it open whether the change was made; 503 does not.
            Self::Answer(500, code) => Outcome::Unknown(code),
            Self::NoAnswer(why) => Outcome::Unknown(why),
            Self::Answer(..) | Self::NotSent => self.of_step(),
        }
    }

    /// What is known if the call changed nothing that a client sees.
    fn of_step(self) -> Outcome {
        Outcome::Failed(match self {
            Self::Answer(status, code) => format!("{status} {code}"),
            Self::NotSent => "not sent".to_owned(),
            Self::NoAnswer(why) => why,
        })
    }
}

/// Puts a body.
pub(crate) async fn put(client: &Client, key: usize, body: Bytes, on: &Condition) -> Outcome {
    let put = client.put_object().bucket(BUCKET).key(key_name(key));
    let put = match on {
        Condition::None => put,
        Condition::Absent => put.if_none_match("*"),
        Condition::Etag(etag) => put.if_match(format!("\"{etag}\"")),
    };
    // The SDK's future takes 19 KB, and those who wait for it would too.
    let answer = answered(Box::pin(put.body(ByteStream::from(body)).send())).await;
    match (answer, on) {
        (Ok(_), _) => Outcome::Done,
        // What is not there has another ETag too.
        (Err(Failure::Answer(404, _)), Condition::Etag(_)) => Outcome::Refused,
        (Err(failure), _) => failure.of_change(),
    }
}

/// Puts a body in parts.
pub(crate) async fn put_in_parts(client: &Client, key: usize, parts: Vec<ByteStream>) -> Outcome {
    let name = key_name(key);
    let create = client.create_multipart_upload().bucket(BUCKET).key(&name);
    let upload = match answered(create.send()).await {
        Ok(created) => created.upload_id.unwrap_or_default(),
        Err(failure) => return failure.of_step(),
    };
    let mut completed = Vec::new();
    for (number, body) in (1..).zip(parts) {
        let part = client.upload_part().bucket(BUCKET).key(&name);
        let part = part.upload_id(&upload).part_number(number).body(body);
        match answered(part.send()).await {
            Ok(stored) => {
                let part = CompletedPart::builder().part_number(number);
                completed.push(part.set_e_tag(stored.e_tag).build());
            }
            Err(failure) => return failure.of_step(),
        }
    }
    let completed = CompletedMultipartUpload::builder().set_parts(Some(completed));
    let complete = client.complete_multipart_upload().bucket(BUCKET).key(&name);
    let complete = complete
        .upload_id(&upload)
        .multipart_upload(completed.build());
    match answered(complete.send()).await {
        Ok(done) if done.e_tag.is_some() => Outcome::Done,
        // The status is sent before the outcome is known.
        Ok(_) => Outcome::Unknown("an answer without an ETag".to_owned()),
        Err(failure) => failure.of_change(),
    }
}

/// Deletes an object.
pub(crate) async fn delete(client: &Client, key: usize) -> Outcome {
    let delete = client.delete_object().bucket(BUCKET).key(key_name(key));
    match answered(delete.send()).await {
        Ok(_) => Outcome::Done,
        Err(failure) => failure.of_change(),
    }
}

/// Asks for an object without its body.
pub(crate) async fn head(client: &Client, history: &History, key: usize) -> Outcome {
    let head = client.head_object().bucket(BUCKET).key(key_name(key));
    match answered(head.send()).await {
        Ok(head) => {
            let length = head
                .content_length
                .and_then(|length| length.try_into().ok());
            seen(history, key, head.e_tag.as_deref(), length)
        }
        Err(Failure::Answer(404, _)) => Outcome::Saw(None),
        Err(failure) => failure.of_step(),
    }
}

/// Gets an object, or the range of it that a header asks for, and compares every byte that comes.
pub(crate) async fn get(
    client: &Client,
    history: &History,
    key: usize,
    range: Option<String>,
) -> Outcome {
    let get = client.get_object().bucket(BUCKET).key(key_name(key));
    let mut got = match answered(get.set_range(range).send()).await {
        Ok(got) => got,
        Err(Failure::Answer(404, _)) => return Outcome::Saw(None),
        Err(failure) => return failure.of_step(),
    };
    let (start, total) = match got.content_range.as_deref().map(start_and_total) {
        Some(parsed) => parsed.unwrap_or_default(),
        None => (
            0,
            got.content_length.and_then(|length| length.try_into().ok()),
        ),
    };
    let outcome = seen(history, key, got.e_tag.as_deref(), total);
    let written = got.e_tag.and_then(|etag| history.with_etag(key, &etag));
    let (Outcome::Saw(_), Some(written)) = (&outcome, written) else {
        return outcome;
    };
    let mut at = start;
    loop {
        let piece = match tokio::time::timeout(PATIENCE, got.body.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(Some(Err(error))) => return Outcome::Failed(format!("it broke off: {error}")),
            Ok(None) => return outcome,
            Err(_) => return Outcome::Failed(format!("nothing came for {PATIENCE:?}")),
        };
        let end = at + piece.len() as u64;
        if end > written.payload.length_bytes || piece != written.payload.slice(at, end) {
            let what = format!("get returned wrong bytes between {at} and {end}");
            history.lie(Some(key), what.clone());
            return Outcome::Failed(what);
        }
        at = end;
    }
}

/// Lists the bucket by pages of `page` keys; the value of each key, or why there is no whole list.
pub(crate) async fn list(
    client: &Client,
    history: &History,
    page: i32,
) -> Result<BTreeMap<usize, u64>, String> {
    let (mut shown, mut last, mut token) = (BTreeMap::new(), String::new(), None);
    loop {
        let list = client.list_objects_v2().bucket(BUCKET).max_keys(page);
        let answer = answered(list.set_continuation_token(token).send()).await;
        let listed = answer.map_err(|failure| format!("{:?}", failure.of_step()))?;
        for object in listed.contents() {
            let name = object.key().unwrap_or_default();
            if name <= last.as_str() {
                history.lie(None, format!("a list shows {name} behind {last}"));
            }
            name.clone_into(&mut last);
            let Some(key) = key_number(name) else {
                history.lie(None, format!("a list shows {name}, which nobody ever put"));
                continue;
            };
            let length = object.size.and_then(|size| size.try_into().ok());
            if let Outcome::Saw(Some(value)) = seen(history, key, object.e_tag(), length) {
                shown.insert(key, value);
            }
        }
        token = listed.next_continuation_token;
        if token.is_none() {
            return Ok(shown);
        }
    }
}

/// The value that an answer speaks of.
fn seen(history: &History, key: usize, etag: Option<&str>, length: Option<u64>) -> Outcome {
    let etag = etag.unwrap_or_default();
    match history.with_etag(key, etag) {
        Some(written) if Some(written.payload.length_bytes) == length => {
            Outcome::Saw(Some(written.value))
        }
        known => {
            let length_bytes = known.map(|known| known.payload.length_bytes);
            let what =
                format!("an answer names {etag} of {length:?} bytes; sent were {length_bytes:?}");
            history.lie(Some(key), what.clone());
            Outcome::Failed(what)
        }
    }
}

/// From `bytes START-END/TOTAL`.
fn start_and_total(content_range: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = content_range.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

async fn answered<T, E: ProvideErrorMetadata + std::error::Error + 'static>(
    call: impl Future<Output = Result<T, SdkError<E>>>,
) -> Result<T, Failure> {
    let answer = tokio::time::timeout(PATIENCE, call).await;
    let error = match answer {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error,
        Err(_) => return Err(Failure::NoAnswer(format!("no answer for {PATIENCE:?}"))),
    };
    Err(match &error {
        SdkError::ServiceError(answer) => {
            let code = answer.err().code().unwrap_or("without a code").to_owned();
            Failure::Answer(answer.raw().status().as_u16(), code)
        }
        _ if was_refused(&error) => Failure::NotSent,
        _ => Failure::NoAnswer(innermost(&error)),
    })
}

/// Whether nobody listened: then nothing was sent.
fn was_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    error.downcast_ref().is_some_and(refused) || error.source().is_some_and(was_refused)
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}
