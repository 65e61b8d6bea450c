//! Which bytes of an object a read wants: all, a `Range`, or a part by its number.

use chunkproto::ByteRange;
use http::{HeaderMap, HeaderValue};
use metastore::{PartEntry, PartNumber};
use s3s::dto::Range;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::s3::errors;

/// The bytes that a read answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// Which bytes; empty only for an empty object.
    pub range: ByteRange,
    /// Whether the answer is 206 with `Content-Range`.
    pub partial: bool,
}

impl Selection {
    /// The whole of an object.
    pub fn whole(size_bytes: u64) -> Self {
        Self {
            range: ByteRange {
                start: 0,
                end: size_bytes,
            },
            partial: false,
        }
    }

    /// The bytes of a `Range` header.
    ///
    /// # Errors
    /// `InvalidRange` (416) with the object's size where no byte is in range.
    pub fn of_range(range: &Range, size_bytes: u64) -> S3Result<Self> {
        match range.check(size_bytes) {
            Ok(range) if !range.is_empty() => Ok(Self {
                range: ByteRange {
                    start: range.start,
                    end: range.end,
                },
                partial: true,
            }),
            _ => Err(unsatisfiable(size_bytes)),
        }
    }

    /// The bytes of a part; `parts` is empty for an object that was not uploaded in parts.
    ///
    /// # Errors
    /// `InvalidArgument` for no part number; `InvalidPart` for a part that is not there.
    pub fn of_part(number: i32, parts: &[PartEntry], size_bytes: u64) -> S3Result<Self> {
        let number = PartNumber::parse(i64::from(number)).map_err(errors::from_name)?;
        if parts.is_empty() && number.get() == 1 {
            return Ok(Self {
                partial: size_bytes > 0,
                ..Self::whole(size_bytes)
            });
        }
        let mut start = 0;
        for part in parts {
            let end = start + part.size_bytes;
            if part.number == number {
                return Ok(Self {
                    range: ByteRange { start, end },
                    partial: end > start,
                });
            }
            start = end;
        }
        Err(S3Error::with_message(
            S3ErrorCode::InvalidPart,
            "The requested partnumber is not satisfiable",
        ))
    }

    /// The `Content-Range` header of the answer, if it has one.
    pub fn content_range(self, size_bytes: u64) -> Option<String> {
        let ByteRange { start, end } = self.range;
        self.partial
            .then(|| format!("bytes {start}-{}/{size_bytes}", end.saturating_sub(1)))
    }
}

fn unsatisfiable(size_bytes: u64) -> S3Error {
    let error = s3_error!(InvalidRange);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size_bytes}")) {
        headers.insert(http::header::CONTENT_RANGE, value);
    }
    errors::with_headers(error, headers)
}

/// Parses `x-amz-copy-source-range`, which must be `bytes=first-last` inside the source.
///
/// # Errors
/// `InvalidArgument` for another form; `InvalidRange` for one that passes the source's end.
pub fn copy_source_range(text: &str, size_bytes: u64) -> S3Result<ByteRange> {
    match Range::parse(text) {
        Ok(Range::Int {
            first,
            last: Some(last),
        }) => {
            if last >= size_bytes {
                return Err(unsatisfiable(size_bytes));
            }
            Ok(ByteRange {
                start: first,
                end: last + 1,
            })
        }
        _ => Err(s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str, size_bytes: u64) -> Option<(u64, u64)> {
        let selection = Selection::of_range(&Range::parse(text).unwrap(), size_bytes).ok()?;
        Some((selection.range.start, selection.range.end))
    }

    #[test]
    fn ranges_are_cut_at_the_object_s_end() {
        assert_eq!(bytes("bytes=0-0", 10), Some((0, 1)));
        assert_eq!(bytes("bytes=5-100", 10), Some((5, 10)));
        assert_eq!(bytes("bytes=-3", 10), Some((7, 10)));
        assert_eq!(bytes("bytes=-30", 10), Some((0, 10)));
        assert_eq!(bytes("bytes=9-", 10), Some((9, 10)));
    }

    #[test]
    fn what_touches_no_byte_is_unsatisfiable() {
        for (range, size_bytes) in [
            ("bytes=10-", 10),
            ("bytes=0-0", 0),
            ("bytes=-1", 0),
            ("bytes=-0", 10),
        ] {
            assert_eq!(bytes(range, size_bytes), None, "{range} of {size_bytes}");
        }
    }

    #[test]
    fn parts_are_found_by_number() {
        let entry = |number, size_bytes| PartEntry {
            number: PartNumber::parse(number).unwrap(),
            size_bytes,
        };
        let parts = [entry(2, 5), entry(7, 3)];
        let range = Selection::of_part(7, &parts, 8).unwrap().range;
        assert_eq!((range.start, range.end), (5, 8));
        assert!(Selection::of_part(1, &parts, 8).is_err());
        assert!(Selection::of_part(2, &[], 8).is_err());
        assert!(!Selection::of_part(1, &[], 0).unwrap().partial);
    }
}
