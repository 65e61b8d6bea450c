//! What a request's headers say of encryption, and the headers that answers say it in. Source of the
//! rules and codes: the S3 API reference's pages of the headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use md5::{Digest as _, Md5};
use metastore::{Encryption, EncryptionKind};
use s3s::{S3Result, s3_error};

use crate::s3::errors;
use crate::s3::object::headers::text;

const METHOD: &str = "x-amz-server-side-encryption";
const KMS_KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CONTEXT: &str = "x-amz-server-side-encryption-context";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
pub(crate) const CUSTOMER: &str = "x-amz-server-side-encryption-customer";
const COPY_SOURCE_CUSTOMER: &str = "x-amz-copy-source-server-side-encryption-customer";

/// Longest encryption context, before base64. Source: KMS developer guide, "Encryption context".
const CONTEXT_MAX_BYTES: usize = 8 * 1024;

/// The names of methods in headers and documents.
pub const METHOD_S3: &str = "AES256";
pub const METHOD_KMS: &str = "aws:kms";

/// A key that the client sent along (SSE-C). Never printed or kept.
pub struct CustomerKey {
    /// The key.
    pub key: [u8; 32],
    /// Its MD5 in base64, as answers repeat it.
    md5: String,
}

/// What a request says of encryption, checked as far as it stands alone.
pub struct EncryptionRequest {
    /// The method by which new bytes are to be sealed.
    pub method: Option<Method>,
    /// The client's key for the object that is written or read.
    pub customer: Option<CustomerKey>,
    /// The client's key for the source of a copy.
    pub source_customer: Option<CustomerKey>,
}

/// A method that the store's own keys serve.
pub enum Method {
    /// SSE-S3.
    S3,
    /// SSE-KMS.
    Kms {
        /// A key of the ring; none: the default.
        key_id: Option<String>,
        /// As it came, in base64.
        context: Option<String>,
        /// Kept and shown, without effect.
        bucket_key: bool,
    },
}

impl EncryptionRequest {
    /// What the headers say.
    ///
    /// # Errors
    /// `InvalidArgument` and its like for headers that do not fit together.
    pub fn in_headers(headers: &HeaderMap) -> S3Result<Self> {
        let requested = Self {
            method: method_in(headers)?,
            customer: customer_key(headers, CUSTOMER)?,
            source_customer: customer_key(headers, COPY_SOURCE_CUSTOMER)?,
        };
        if requested.customer.is_some() && requested.method.is_some() {
            return Err(s3_error!(
                InvalidArgument,
                "Server Side Encryption with Customer provided key is incompatible with the encryption method specified"
            ));
        }
        Ok(requested)
    }

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
        let requested = match &self.method {
            None => return Ok(()),
            Some(Method::S3) => EncryptionKind::S3,
            Some(Method::Kms { .. }) => EncryptionKind::Kms,
        };
        match upload.is_some_and(|row| row.kind == requested) {
            true => Ok(()),
            false => self.refuse_method(),
        }
    }

    /// The headers that say in an answer how the object is encrypted.
    pub fn response_headers(&self, encryption: Option<&Encryption>) -> HeaderMap {
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

pub(crate) fn method_in(headers: &HeaderMap) -> S3Result<Option<Method>> {
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
pub(crate) fn customer_key(headers: &HeaderMap, family: &str) -> S3Result<Option<CustomerKey>> {
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
