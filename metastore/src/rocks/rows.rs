//! A row as bytes: a version byte, then the fields in postcard's encoding
//! (`docs/adr/0002-row-encoding.md`). Rows of earlier versions end before the fields that later ones
//! added at the end of some types; they are read with those fields' defaults.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tables::Table;
use crate::{MetaError, MetaResult};

/// Version of every row's encoding; stands in its first byte.
const ROW_VERSION: u8 = 3;
/// The version before, without the fields that a table's [`added_in_3`](Table::added_in_3) stands for.
const SECOND_ROW_VERSION: u8 = 2;
/// The first version, without those that [`added_in_2`](Table::added_in_2) stands for either.
const FIRST_ROW_VERSION: u8 = 1;

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
        Some((&ROW_VERSION, fields)) => fields_of(fields).map_err(corrupt),
        Some((&SECOND_ROW_VERSION, fields)) => {
            fields_of(&[fields, &(table.added_in_3)()].concat()).map_err(corrupt)
        }
        Some((&FIRST_ROW_VERSION, fields)) => {
            let added = [(table.added_in_2)(), (table.added_in_3)()].concat();
            fields_of(&[fields, &added].concat()).map_err(corrupt)
        }
        Some((version, _)) => Err(corrupt(format!("row version {version} is not known"))),
        None => Err(corrupt("the row is empty".into())),
    }
}

fn fields_of<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((row, [])) => Ok(row),
        Ok((_, rest)) => Err(format!("{} bytes are left over", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// The bytes of fields that a row of an earlier version lacks.
pub(super) fn defaults<F: Serialize + Default>() -> Vec<u8> {
    postcard::to_stdvec(&F::default())
        .expect("rows are made of strings, numbers and lists, which postcard can always write")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rocks::tables::{BUCKET_IDS, BUCKETS, NODE_CHUNKS, UPLOADS};
    use crate::{
        Bucket, BucketId, BucketName, BucketSettings, MetaError, ObjectAttributes, SystemHeaders,
        Timestamp, Upload, UploadId,
    };

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

    #[test]
    fn an_upload_of_each_version_is_read_with_defaults() {
        let upload = Upload {
            id: UploadId::generate(),
            initiated_at: Timestamp(1),
            owner: "alice".into(),
            headers: SystemHeaders::default(),
            user_metadata: Vec::new(),
            checksum: None,
            attributes: ObjectAttributes::default(),
            initiator: String::new(),
        };
        let row = encode(&upload);
        let second = row.len() - defaults::<String>().len();
        let first = second - defaults::<ObjectAttributes>().len();
        for (version, length) in [(1, first), (2, second), (3, row.len())] {
            let row = [&[version], &row[1..length]].concat();
            assert_eq!(decode(UPLOADS, &row).unwrap(), upload, "{version}");
        }
    }

    #[test]
    fn a_row_of_the_first_version_is_read_with_defaults() {
        let bucket = Bucket {
            id: BucketId::generate(),
            name: BucketName::parse("photos").unwrap(),
            created_at: Timestamp(1),
            owner: "alice".into(),
            region: String::new(),
            settings: BucketSettings::default(),
        };
        let mut row = encode(&bucket);
        row.truncate(row.len() - defaults::<BucketSettings>().len());
        row[0] = FIRST_ROW_VERSION;
        assert_eq!(decode(BUCKETS, &row).unwrap(), bucket);
    }
}
