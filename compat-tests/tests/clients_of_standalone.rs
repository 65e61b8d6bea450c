//! Real clients against `gateway standalone`.

mod clients;

use compat_tests::Standalone as TestServer;

async fn start_server() -> TestServer {
    TestServer::start().await
}
