//! Keys and queries of all kinds under each way to sign.

use compat_tests::{ClientHome, Standalone, own_source};

#[tokio::test]
async fn headers_and_urls_of_both_versions_sign_every_key() {
    let server = Standalone::start_with(&["--sigv2-headers"]).await;
    let home = ClientHome::new(server.endpoint());
    let script = own_source("python").join("signatures.py");
    home.python(&["-B", script.to_str().unwrap()]).await;
}
