//! A row as bytes: a version byte, then the fields in postcard's encoding
//! (`docs/adr/0002-row-encoding.md`).

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tables::Table;
use crate::{MetaError, MetaResult};

/// Version of every row's encoding; stands in its first byte.
const ROW_VERSION: u8 = 1;

/// The bytes of a row.
pub(super) fn encode<R: Serialize>(row: &R) -> Vec<u8> {
    postcard::to_extend(row, vec![ROW_VERSION])
        .expect("rows are made of strings, numbers and lists, which postcard can always write")
}

/// The row that [`encode`] wrote.
///
/// # Errors
/// `Corrupt` for any other bytes: another version, bytes missing or left over.
pub(super) fn decode<R: DeserializeOwned>(table: Table<R>, bytes: &[u8]) -> MetaResult<R> {
    let corrupt = |detail: String| MetaError::Corrupt {
        table: table.name,
        detail,
    };
    match bytes.split_first() {
        Some((&ROW_VERSION, fields)) => match postcard::take_from_bytes(fields) {
            Ok((row, [])) => Ok(row),
            Ok((_, rest)) => Err(corrupt(format!("{} bytes are left over", rest.len()))),
            Err(error) => Err(corrupt(error.to_string())),
        },
        Some((version, _)) => Err(corrupt(format!("row version {version} is not known"))),
        None => Err(corrupt("the row is empty".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rocks::tables::{BUCKET_IDS, NODE_CHUNKS};
    use crate::{BucketName, MetaError};

    #[test]
    fn a_row_survives_its_bytes() {
        let name = BucketName::parse("photos").unwrap();
        assert_eq!(decode(BUCKET_IDS, &encode(&name)).unwrap(), name);
        assert!(decode(NODE_CHUNKS, &encode(&())).is_ok());
    }

    #[test]
    fn bytes_that_are_no_row_are_corrupt() {
        let good = encode(&BucketName::parse("photos").unwrap());
        let torn = &good[..good.len() - 1];
        let longer = [&good[..], &[0]].concat();
        let newer = [&[ROW_VERSION + 1], &good[1..]].concat();
        for bytes in [&[], torn, &longer, &newer] {
            let result = decode(BUCKET_IDS, bytes);
            assert!(matches!(
                result,
                Err(MetaError::Corrupt {
                    table: "bucket_ids",
                    ..
                })
            ));
        }
    }
}
