//! What requests say of encryption, and what becomes of it: which key seals a new object, which one
//! opens an old one, and what the answer shows. Source of the rules and codes: S3 user guide,
//! "Protecting data with server-side encryption", and the API reference's pages of the headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use md5::{Digest as _, Md5};
use metastore::{Bucket, BucketId, Encryption, EncryptionKind};
use s3s::{S3Error, S3Request, S3Result, s3_error};
use tracing::error;

use super::errors;
use super::service::S3Gateway;
use crate::http::Peer;
use crate::sealing::{DataKey, KeyRingError, WrappingKey, purpose};

const METHOD: &str = "x-amz-server-side-encryption";
const KMS_KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CONTEXT: &str = "x-amz-server-side-encryption-context";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
pub(super) const CUSTOMER: &str = "x-amz-server-side-encryption-customer";
const COPY_SOURCE_CUSTOMER: &str = "x-amz-copy-source-server-side-encryption-customer";

/// Longest encryption context, before base64. Source: KMS developer guide, "Encryption context".
const CONTEXT_MAX_BYTES: usize = 8 * 1024;

/// The names of methods in headers and documents.
pub const METHOD_S3: &str = "AES256";
pub const METHOD_KMS: &str = "aws:kms";

/// A key that the client sent along (SSE-C). Never printed or kept.
pub struct CustomerKey {
    key: [u8; 32],
    /// Its MD5 in base64, as answers repeat it.
    md5: String,
}

/// What a request says of encryption, checked as far as it stands alone.
pub struct EncryptionRequest {
    method: Option<Method>,
    /// The client's key for the object that is written or read.
    pub customer: Option<CustomerKey>,
    /// The client's key for the source of a copy.
    pub source_customer: Option<CustomerKey>,
}

pub(super) enum Method {
    S3,
    Kms {
        key_id: Option<String>,
        context: Option<String>,
        bucket_key: bool,
    },
}

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
    pub(super) fn encryption_asked<T>(
        &self,
        request: &S3Request<T>,
    ) -> S3Result<EncryptionRequest> {
        let headers = &request.headers;
        let asked = EncryptionRequest {
            method: method_in(headers)?,
            customer: customer_key(headers, CUSTOMER)?,
            source_customer: customer_key(headers, COPY_SOURCE_CUSTOMER)?,
        };
        if asked.customer.is_some() && asked.method.is_some() {
            return Err(s3_error!(
                InvalidArgument,
                "Server Side Encryption with Customer provided key is incompatible with the encryption method specified"
            ));
        }
        let sends_key = asked.customer.is_some() || asked.source_customer.is_some();
        let secure = Peer::of(&request.extensions).is_some_and(|peer| peer.secure);
        if sends_key && !secure && !self.settings.customer_keys_in_clear {
            return Err(s3_error!(
                InvalidRequest,
                "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection."
            ));
        }
        Ok(asked)
    }

    /// How an object that is written into `bucket` is sealed: as the request says, else by the
    /// bucket's default, else not at all.
    ///
    /// # Errors
    /// `KMS.NotFoundException` for a key that the ring lacks; `InvalidArgument` where no key is
    /// named and there is no default.
    pub(super) fn sealing(
        &self,
        bucket: &Bucket,
        asked: &EncryptionRequest,
    ) -> S3Result<Option<Sealing>> {
        let row = |kind, key_id, context, bucket_key| Encryption {
            kind,
            key_id,
            context,
            bucket_key,
            wrapped_key: Vec::new(),
        };
        let mut row = match (&asked.customer, &asked.method, &bucket.settings.encryption) {
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
        let with = wrapping(&row, asked.customer.as_ref())?;
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
    pub(super) fn opening_key(
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
                    "Server Side Encryption with AWS KMS managed keys needs a key id: this store has no default key."
                )
            })
    }
}

impl EncryptionRequest {
    /// Whether it says anything of how new bytes are sealed.
    pub fn is_silent(&self) -> bool {
        self.method.is_none() && self.customer.is_none()
    }

    /// Refuses what only writes may ask for.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn refuse_method(&self) -> S3Result<()> {
        match self.method {
            None => Ok(()),
            Some(_) => Err(s3_error!(
                InvalidArgument,
                "x-amz-server-side-encryption header is not supported for this operation."
            )),
        }
    }

    /// Refuses a method other than the upload's, by which its parts are sealed: a client must not
    /// believe that its bytes are sealed when they are not. AWS refuses any method here.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn agree_with(&self, upload: Option<&Encryption>) -> S3Result<()> {
        let asked = match &self.method {
            None => return Ok(()),
            Some(Method::S3) => EncryptionKind::S3,
            Some(Method::Kms { .. }) => EncryptionKind::Kms,
        };
        match upload.is_some_and(|row| row.kind == asked) {
            true => Ok(()),
            false => self.refuse_method(),
        }
    }

    /// The headers that say in an answer how the object is encrypted.
    pub fn shown(&self, encryption: Option<&Encryption>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: &str, value: &str| {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        };
        match encryption.map(|row| (row.kind, row)) {
            None => {}
            Some((EncryptionKind::S3, _)) => put(METHOD, METHOD_S3),
            Some((EncryptionKind::Kms, row)) => {
                put(METHOD, METHOD_KMS);
                put(KMS_KEY_ID, row.key_id.as_deref().unwrap_or_default());
                if row.bucket_key {
                    put(BUCKET_KEY, "true");
                }
            }
            Some((EncryptionKind::Customer, _)) => {
                put(&format!("{CUSTOMER}-algorithm"), METHOD_S3);
                if let Some(customer) = &self.customer {
                    put(&format!("{CUSTOMER}-key-md5"), &customer.md5);
                }
            }
        }
        headers
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
            error!("an object's data key does not open: is the master key another one?");
            s3_error!(InternalError)
        }
    }
}

pub(super) fn method_in(headers: &HeaderMap) -> S3Result<Option<Method>> {
    let key_id = text(headers, KMS_KEY_ID)?;
    let context = text(headers, CONTEXT)?;
    let method = text(headers, METHOD)?;
    if method != Some(METHOD_KMS) && (key_id.is_some() || context.is_some()) {
        return Err(s3_error!(
            InvalidArgument,
            "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms"
        ));
    }
    match method {
        None => Ok(None),
        Some(METHOD_S3) => Ok(Some(Method::S3)),
        Some(METHOD_KMS) => Ok(Some(Method::Kms {
            key_id: key_id.map(str::to_owned),
            context: context.map(checked_context).transpose()?,
            bucket_key: text(headers, BUCKET_KEY)?
                .is_some_and(|it| it.eq_ignore_ascii_case("true")),
        })),
        Some("aws:kms:dsse") => Err(s3_error!(
            NotImplemented,
            "Encryption in two layers is not implemented."
        )),
        Some(_) => Err(s3_error!(
            InvalidArgument,
            "The encryption method specified is not supported"
        )),
    }
}

/// An encryption context: an object of JSON whose values are text, in base64.
fn checked_context(context: &str) -> S3Result<String> {
    let decoded = STANDARD.decode(context).ok();
    let is_context = decoded
        .filter(|json| json.len() <= CONTEXT_MAX_BYTES)
        .is_some_and(|json| {
            serde_json::from_slice::<std::collections::BTreeMap<String, String>>(&json).is_ok()
        });
    match is_context {
        true => Ok(context.to_owned()),
        false => Err(s3_error!(
            InvalidArgument,
            "The header 'x-amz-server-side-encryption-context' must be a base64-encoded JSON object of strings."
        )),
    }
}

/// The client's key in the three headers that begin with `family`.
pub(super) fn customer_key(headers: &HeaderMap, family: &str) -> S3Result<Option<CustomerKey>> {
    let algorithm = text(headers, &format!("{family}-algorithm"))?;
    let key = text(headers, &format!("{family}-key"))?;
    let md5 = text(headers, &format!("{family}-key-md5"))?;
    let (algorithm, key, md5) = match (algorithm, key, md5) {
        (None, None, None) => return Ok(None),
        (Some(algorithm), Some(key), Some(md5)) => (algorithm, key, md5),
        (None, ..) => {
            return Err(s3_error!(
                InvalidArgument,
                "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm."
            ));
        }
        (_, None, _) => {
            return Err(s3_error!(
                InvalidArgument,
                "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key."
            ));
        }
        (.., None) => {
            return Err(s3_error!(
                InvalidArgument,
                "Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of the secret key."
            ));
        }
    };
    if algorithm != METHOD_S3 {
        return Err(errors::custom(
            StatusCode::BAD_REQUEST,
            "InvalidEncryptionAlgorithmError",
            "The Encryption request you specified is not valid. Supported value: AES256.",
        ));
    }
    let decoded = STANDARD.decode(key).ok();
    let key: [u8; 32] = decoded.and_then(|key| key.try_into().ok()).ok_or_else(|| {
        s3_error!(
            InvalidArgument,
            "The secret key was invalid for the specified algorithm."
        )
    })?;
    let computed = STANDARD.encode(Md5::digest(key));
    if computed != md5 {
        return Err(s3_error!(
            InvalidArgument,
            "The calculated MD5 hash of the key did not match the hash that was provided."
        ));
    }
    Ok(Some(CustomerKey { key, md5: computed }))
}

/// A header's text; empty ones count as absent.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> S3Result<Option<&'h str>> {
    let Some(value) = headers.get(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    value
        .to_str()
        .map(Some)
        .map_err(|_| s3_error!(InvalidArgument, "The header {name} is not valid."))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_headers_break_the_reader(texts in proptest::collection::vec("[ -~]{0,50}", 7)) {
            let names = [METHOD, KMS_KEY_ID, CONTEXT, BUCKET_KEY].map(str::to_owned);
            let ends = ["algorithm", "key", "key-md5"].map(|end| format!("{CUSTOMER}-{end}"));
            let pairs: Vec<_> = names.iter().chain(&ends).map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
            let _ = method_in(&headers(&pairs));
            let _ = customer_key(&headers(&pairs), CUSTOMER);
        }
    }

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn code_of<T>(result: S3Result<T>) -> Option<String> {
        result.err().map(|error| error.code().as_str().to_owned())
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    value.parse().unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn a_clients_key_comes_with_its_algorithm_and_digest_or_is_refused() {
        let md5 = STANDARD.encode(Md5::digest(STANDARD.decode(KEY).unwrap()));
        let [algorithm, key, digest] =
            ["algorithm", "key", "key-md5"].map(|end| format!("{CUSTOMER}-{end}"));
        let table = [
            (vec![], None),
            (
                vec![(&*algorithm, METHOD_S3), (&*key, KEY), (&*digest, &*md5)],
                None,
            ),
            (
                vec![(&*key, KEY), (&*digest, &*md5)],
                Some("InvalidArgument"),
            ),
            (
                vec![(&*algorithm, METHOD_S3), (&*digest, &*md5)],
                Some("InvalidArgument"),
            ),
            (
                vec![(&*algorithm, METHOD_S3), (&*key, KEY)],
                Some("InvalidArgument"),
            ),
            (
                vec![(&*algorithm, METHOD_S3), (&*key, KEY), (&*digest, "AAAA")],
                Some("InvalidArgument"),
            ),
            (
                vec![(&*algorithm, METHOD_S3), (&*key, "AAAA"), (&*digest, &*md5)],
                Some("InvalidArgument"),
            ),
            (
                vec![(&*algorithm, "AES128"), (&*key, KEY), (&*digest, &*md5)],
                Some("InvalidEncryptionAlgorithmError"),
            ),
        ];
        for (given, expected) in table {
            let parsed = customer_key(&headers(&given), CUSTOMER);
            assert_eq!(code_of(parsed).as_deref(), expected, "{given:?}");
        }
    }

    #[test]
    fn methods_and_their_keys_must_fit() {
        let context = STANDARD.encode("{\"department\":\"archive\"}");
        let table = [
            (vec![(METHOD, METHOD_S3)], None),
            (vec![(METHOD, METHOD_KMS), (KMS_KEY_ID, "k")], None),
            (vec![(METHOD, METHOD_KMS), (CONTEXT, &*context)], None),
            (
                vec![(METHOD, METHOD_KMS), (CONTEXT, "e30x")],
                Some("InvalidArgument"),
            ),
            (vec![(METHOD, "aes:kms")], Some("InvalidArgument")),
            (
                vec![(METHOD, METHOD_S3), (KMS_KEY_ID, "k")],
                Some("InvalidArgument"),
            ),
            (vec![(KMS_KEY_ID, "k")], Some("InvalidArgument")),
            (vec![(METHOD, "aws:kms:dsse")], Some("NotImplemented")),
        ];
        for (given, expected) in table {
            let parsed = method_in(&headers(&given));
            assert_eq!(code_of(parsed).as_deref(), expected, "{given:?}");
        }
    }
}
