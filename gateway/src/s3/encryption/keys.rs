//! Server-side encryption: chooses the key for new objects and finds the key of stored ones. Source:
//! S3 user guide, "Protecting data with server-side encryption".

use http::StatusCode;
use metastore::{Bucket, BucketId, Encryption, EncryptionKind};
use s3s::{S3Error, S3Request, S3Result, s3_error};
use tracing::error;

use super::request::{CustomerKey, EncryptionRequest, Method};
use crate::http::Peer;
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;
use crate::sealing::{DataKey, KeyRingError, WrappingKey, purpose};

/// How new bytes are sealed.
pub struct Sealing {
    /// What the row says of it.
    pub row: Encryption,
    /// The key.
    pub key: DataKey,
}

impl S3Gateway {
    /// What a request says of encryption.
    ///
    /// # Errors
    /// `InvalidArgument` and its like for headers that do not fit together; `InvalidRequest` for a
    /// client's key that came in the clear.
    pub(crate) fn requested_encryption<T>(
        &self,
        request: &S3Request<T>,
    ) -> S3Result<EncryptionRequest> {
        let requested = EncryptionRequest::in_headers(&request.headers)?;
        let sends_key = requested.customer.is_some() || requested.source_customer.is_some();
        let secure = Peer::of(&request.extensions).is_some_and(Peer::is_secure);
        if sends_key && !secure && !self.settings.customer_keys_in_clear {
            return Err(s3_error!(
                InvalidRequest,
                "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection."
            ));
        }
        Ok(requested)
    }

    /// How an object that is written into `bucket` is sealed: as the request says, else by the
    /// bucket's default, else not at all.
    ///
    /// # Errors
    /// `KMS.NotFoundException` for a key that the ring lacks; `InvalidArgument` where no key is
    /// named and there is no default.
    pub(crate) fn sealing(
        &self,
        bucket: &Bucket,
        requested: &EncryptionRequest,
    ) -> S3Result<Option<Sealing>> {
        let row = |kind, key_id, context, bucket_key| Encryption {
            kind,
            key_id,
            context,
            bucket_key,
            wrapped_key: Vec::new(),
        };
        let mut row = match (
            &requested.customer,
            &requested.method,
            &bucket.settings.encryption,
        ) {
            (Some(_), ..) => row(EncryptionKind::Customer, None, None, false),
            (None, Some(Method::S3), _) => row(EncryptionKind::S3, None, None, false),
            (
                None,
                Some(Method::Kms {
                    key_id,
                    context,
                    bucket_key,
                }),
                default,
            ) => {
                let of_bucket = default.as_ref().and_then(|default| default.key_id.clone());
                let key_id = self.kms_key(key_id.clone().or(of_bucket))?;
                row(
                    EncryptionKind::Kms,
                    Some(key_id),
                    context.clone(),
                    *bucket_key,
                )
            }
            (None, None, Some(default)) => {
                let key_id = match default.kind {
                    EncryptionKind::Kms => Some(self.kms_key(default.key_id.clone())?),
                    _ => None,
                };
                row(default.kind, key_id, None, default.bucket_key)
            }
            (None, None, None) => return Ok(None),
        };
        let key = DataKey::generate();
        let with = wrapping(&row, requested.customer.as_ref())?;
        let wrapped = self.key_ring.wrap(&key, with, &purpose(bucket.id, &row));
        row.wrapped_key = wrapped.map_err(from_ring)?;
        Ok(Some(Sealing { row, key }))
    }

    /// The key that opens what `encryption` says of an object or upload in a bucket; none where it
    /// is not encrypted.
    ///
    /// # Errors
    /// `InvalidRequest` where the client's key is missing, another, or not called for;
    /// `KMS.NotFoundException`.
    pub(crate) fn opening_key(
        &self,
        bucket: BucketId,
        encryption: Option<&Encryption>,
        customer: Option<&CustomerKey>,
    ) -> S3Result<Option<DataKey>> {
        let Some(row) = encryption else {
            return match customer {
                None => Ok(None),
                Some(_) => Err(s3_error!(
                    InvalidRequest,
                    "The encryption parameters are not applicable to this object."
                )),
            };
        };
        if customer.is_some() && row.kind != EncryptionKind::Customer {
            return Err(s3_error!(
                InvalidRequest,
                "The encryption parameters are not applicable to this object."
            ));
        }
        let with = wrapping(row, customer)?;
        let key = self
            .key_ring
            .unwrap(&row.wrapped_key, with, &purpose(bucket, row));
        match (key, row.kind) {
            (Ok(key), _) => Ok(Some(key)),
            (Err(KeyRingError::WrongKey), EncryptionKind::Customer) => Err(s3_error!(
                InvalidRequest,
                "The provided encryption parameters did not match the ones used originally."
            )),
            (Err(error), _) => Err(from_ring(error)),
        }
    }

    fn kms_key(&self, named: Option<String>) -> S3Result<String> {
        named
            .or_else(|| self.settings.kms_default_key.clone())
            .ok_or_else(|| {
                s3_error!(
                    InvalidArgument,
                    "Server Side Encryption with AWS KMS managed keys needs a key id: no default key is configured."
                )
            })
    }
}

/// The ETag of a body: its MD5 in hex, but for keys of clients and of the key ring a value that
/// does not tell what the bytes are.
pub fn etag_of(md5: [u8; 16], sealing: Option<&Sealing>) -> String {
    match sealing {
        Some(sealing) if sealing.row.kind != EncryptionKind::S3 => {
            hex::encode(sealing.key.etag(md5))
        }
        _ => hex::encode(md5),
    }
}

fn wrapping<'a>(
    row: &'a Encryption,
    customer: Option<&'a CustomerKey>,
) -> S3Result<WrappingKey<'a>> {
    match row.kind {
        EncryptionKind::S3 => Ok(WrappingKey::Store),
        EncryptionKind::Kms => Ok(WrappingKey::Named(
            row.key_id.as_deref().unwrap_or_default(),
        )),
        EncryptionKind::Customer => match customer {
            Some(customer) => Ok(WrappingKey::Given(&customer.key)),
            None => Err(s3_error!(
                InvalidRequest,
                "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object."
            )),
        },
    }
}

fn from_ring(failure: KeyRingError) -> S3Error {
    match failure {
        KeyRingError::UnknownKey => errors::custom(
            StatusCode::BAD_REQUEST,
            "KMS.NotFoundException",
            "The key id names no key of this store.",
        ),
        KeyRingError::WrongKey => {
            error!("cannot decrypt an object's data key: was the master key changed?");
            s3_error!(InternalError)
        }
    }
}
