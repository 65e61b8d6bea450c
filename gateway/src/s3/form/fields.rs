//! Uploads by HTML form: the form's fields stand for the headers that a PUT would have.

use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{PostObjectInput, Timestamp, TimestampFormat};
use s3s::{S3Result, s3_error};

use super::head::FormFields;

/// The headers of the PUT that a form stands for; `carried` are the fields that came beside it.
///
/// # Errors
/// `InvalidArgument` for a field that no header could carry; as for tags.
pub fn headers_of(input: &PostObjectInput, carried: &FormFields) -> S3Result<HeaderMap> {
    let mut headers = known_headers(input)?;
    if let Some(document) = &carried.tagging {
        set(&mut headers, "x-amz-tagging", &tags_of_field(document)?)?;
    }
    for (name, value) in &carried.checksums {
        set(&mut headers, name, value)?;
    }
    Ok(headers)
}

/// The fields that s3s hands over, as headers.
#[expect(
    clippy::too_many_lines,
    reason = "a table with an entry for each field"
)]
fn known_headers(input: &PostObjectInput) -> S3Result<HeaderMap> {
    let text = |value: &Option<String>| value.clone();
    let fields: [(&'static str, Option<String>); 31] = [
        ("content-type", text(&input.content_type)),
        ("content-encoding", text(&input.content_encoding)),
        ("content-disposition", text(&input.content_disposition)),
        ("content-language", text(&input.content_language)),
        ("cache-control", text(&input.cache_control)),
        ("expires", text(&input.expires)),
        (
            "x-amz-acl",
            input.acl.as_ref().map(|acl| acl.as_str().to_owned()),
        ),
        (
            "x-amz-tagging",
            input.tagging.as_deref().map(tags_of_field).transpose()?,
        ),
        (
            "x-amz-storage-class",
            input
                .storage_class
                .as_ref()
                .map(|class| class.as_str().to_owned()),
        ),
        (
            "x-amz-website-redirect-location",
            text(&input.website_redirect_location),
        ),
        (
            "x-amz-server-side-encryption",
            input
                .server_side_encryption
                .as_ref()
                .map(|kind| kind.as_str().to_owned()),
        ),
        (
            "x-amz-server-side-encryption-aws-kms-key-id",
            text(&input.ssekms_key_id),
        ),
        (
            "x-amz-server-side-encryption-customer-algorithm",
            text(&input.sse_customer_algorithm),
        ),
        (
            "x-amz-server-side-encryption-customer-key",
            text(&input.sse_customer_key),
        ),
        (
            "x-amz-server-side-encryption-customer-key-md5",
            text(&input.sse_customer_key_md5),
        ),
        (
            "x-amz-server-side-encryption-context",
            text(&input.ssekms_encryption_context),
        ),
        (
            "x-amz-server-side-encryption-bucket-key-enabled",
            input.bucket_key_enabled.map(|enabled| enabled.to_string()),
        ),
        (
            "x-amz-object-lock-mode",
            input
                .object_lock_mode
                .as_ref()
                .map(|mode| mode.as_str().to_owned()),
        ),
        (
            "x-amz-object-lock-retain-until-date",
            input
                .object_lock_retain_until_date
                .as_ref()
                .map(moment)
                .transpose()?,
        ),
        (
            "x-amz-object-lock-legal-hold",
            input
                .object_lock_legal_hold_status
                .as_ref()
                .map(|hold| hold.as_str().to_owned()),
        ),
        ("x-amz-grant-full-control", text(&input.grant_full_control)),
        ("x-amz-grant-read", text(&input.grant_read)),
        ("x-amz-grant-read-acp", text(&input.grant_read_acp)),
        ("x-amz-grant-write-acp", text(&input.grant_write_acp)),
        (
            "x-amz-expected-bucket-owner",
            text(&input.expected_bucket_owner),
        ),
        ("x-amz-checksum-crc32", text(&input.checksum_crc32)),
        ("x-amz-checksum-crc32c", text(&input.checksum_crc32c)),
        ("x-amz-checksum-crc64nvme", text(&input.checksum_crc64nvme)),
        ("x-amz-checksum-sha1", text(&input.checksum_sha1)),
        ("x-amz-checksum-sha256", text(&input.checksum_sha256)),
        ("content-md5", text(&input.content_md5)),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            set(&mut headers, name, &value)?;
        }
    }
    Ok(headers)
}

/// A moment as a header carries it.
fn moment(moment: &Timestamp) -> S3Result<String> {
    let mut text = Vec::new();
    let written = moment.format(TimestampFormat::DateTime, &mut text);
    let text = written.ok().and_then(|()| String::from_utf8(text).ok());
    text.ok_or_else(|| s3_error!(InvalidArgument, "A form field is not a valid date."))
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) -> S3Result<()> {
    let header = HeaderName::from_bytes(name.as_bytes()).ok();
    let (Some(header), Ok(value)) = (header, HeaderValue::from_str(value)) else {
        return Err(s3_error!(
            InvalidArgument,
            "The form field {name} is invalid."
        ));
    };
    headers.insert(header, value);
    Ok(())
}

/// The tags of a form's field as the header of a PUT carries them. A field carries a document.
fn tags_of_field(field: &str) -> S3Result<String> {
    if !field.trim_start().starts_with('<') {
        return Ok(field.to_owned());
    }
    let tags = crate::s3::object::tags::parse_tagging(field)?;
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let pairs: Vec<_> = tags
        .iter()
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
        .collect();
    Ok(pairs.join("&"))
}
