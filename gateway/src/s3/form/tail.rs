//! What stands behind the file of an HTML form: a named submit button, fields that came too late. S3
//! passes over it; s3s refuses such a form, and must know the file's length before the file ends. So
//! short forms are read whole, a bounded number at a time, and cut behind the file; a longer one must
//! end with its file.

use http::{HeaderValue, Request, header};
use s3s::Body;

use super::head::{FormFields, boundary_of};
use crate::s3::body::undeclared_length::{UNDECLARED_MAX_BYTES, UndeclaredLength};
use crate::s3::edge::envelope::Refused;

/// What follows a boundary before another field, and after the last one.
const NEXT_FIELD: &[u8] = b"\r\n";
const END_OF_FORM: &[u8] = b"--";

/// A form whose head was read, ended behind its file. Long ones stay as they were.
///
/// # Errors
/// As for a body without declared length.
pub async fn end_at_file(
    request: Request<Body>,
    readers: &UndeclaredLength,
) -> Result<Request<Body>, Refused> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let is_short = length.is_some_and(|bytes: usize| bytes <= UNDECLARED_MAX_BYTES);
    let file_at = request
        .extensions()
        .get()
        .map(|form: &FormFields| form.file_at);
    let (true, Some(file_at), Some(boundary)) = (is_short, file_at, boundary_of(&request)) else {
        return Ok(request);
    };
    let (mut parts, body) = request.into_parts();
    let mut body = readers.read(body).await?;
    let line = [b"\r\n--", boundary.as_bytes()].concat();
    let behind = body.get(file_at..).unwrap_or_default();
    // The first boundary there is; another text may begin as it does.
    let ends = |window: &[u8]| {
        let rest = window.strip_prefix(&line[..]);
        rest.is_some_and(|rest| rest == NEXT_FIELD || rest == END_OF_FORM)
    };
    let mut windows = behind.windows(line.len() + NEXT_FIELD.len());
    if let Some(file_bytes) = windows.position(ends) {
        let end = file_at + file_bytes + line.len();
        if body[end..].starts_with(NEXT_FIELD) {
            body = [&body[..end], END_OF_FORM, NEXT_FIELD].concat().into();
            let length = HeaderValue::from(body.len());
            parts.headers.insert(header::CONTENT_LENGTH, length);
        }
    }
    Ok(Request::from_parts(parts, Body::from(body)))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn ended(body: &str) -> (String, usize) {
        let file_at = body.find("FILE").unwrap();
        let mut request = Request::post("/b")
            .header(header::CONTENT_TYPE, "multipart/form-data; boundary=BB")
            .header(header::CONTENT_LENGTH, body.len())
            .body(Body::from(body.to_owned()))
            .unwrap();
        let form = FormFields {
            file_at,
            ..FormFields::default()
        };
        request.extensions_mut().insert(form);
        let request = end_at_file(request, &UndeclaredLength::new())
            .await
            .unwrap();
        let (parts, body) = request.into_parts();
        let length = parts.headers[header::CONTENT_LENGTH].to_str().unwrap();
        let length = length.parse().unwrap();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        (String::from_utf8(body).unwrap(), length)
    }

    #[tokio::test]
    async fn fields_behind_the_file_are_passed_over() {
        let head = "--BB\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n";
        let late = "--BB\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nother\r\n";
        for file in ["FILE", "FILE\r\n--B\r\n", "FILE\r\n--BBB\r\n"] {
            let whole = format!("{head}{file}\r\n--BB--\r\n");
            assert_eq!(ended(&whole).await, (whole.clone(), whole.len()));
            let with_late = format!("{head}{file}\r\n{late}--BB--\r\n");
            assert_eq!(ended(&with_late).await, (whole.clone(), whole.len()));
        }
    }

    #[tokio::test]
    async fn a_long_form_stays_as_it_was() {
        let file = "x".repeat(UNDECLARED_MAX_BYTES);
        let long = format!("FILE{file}\r\n--BB\r\n");
        assert_eq!(ended(&long).await, (long.clone(), long.len()));
    }
}
